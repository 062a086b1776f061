"""Where the signing keys come from, and that a new one logs nobody out."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_common.settings import SetupError
from chat_server.auth.keys import key_id, signing_keys
from chat_server.auth.settings import AuthSettings
from chat_server.store.schema import meta
from sqlalchemy import select

from tests.chat_server.auth.screens import site
from tests.chat_server.house import House

OLD, NEW = "o" * 40, "n" * 40


async def keys(house: House, **settings: object) -> list[str]:
    chosen = AuthSettings(**settings)  # type: ignore[arg-type]
    found = await house.database.change(lambda connection: signing_keys(connection, chosen))
    assert set(found) >= {key_id(key) for key in found.values()}
    return list(dict.fromkeys(found.values()))


async def test_without_a_setting_it_is_the_stores_own(house: House) -> None:
    first = await keys(house)
    assert await keys(house) == first
    assert len(first) == 1
    assert len(first[0]) >= 32
    assert await keys(house, keys=[NEW, "stored"]) == [NEW, *first]


async def test_a_configured_key_leaves_none_in_the_store(house: House) -> None:
    await house.database.change(
        lambda connection: connection.execute(meta.delete().where(meta.c.key == "token_secret"))
    )
    assert await keys(house, secret=OLD) == [OLD]
    assert await keys(house, secret=OLD, keys=[NEW]) == [NEW, OLD]
    assert await house.rows(select(meta.c.value).where(meta.c.key == "token_secret")) == []


async def test_a_key_may_stand_in_a_file(house: House, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{NEW}\n")
    assert await keys(house, secret=f"file:{tmp_path / 'key'}") == [NEW]
    for name, content in (("empty", b" \n"), ("binary", b"\xff\xfe"), ("long", b"x" * 5_000)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SetupError, match=name):
            await keys(house, keys=[f"file:{tmp_path / name}"])
    with pytest.raises(SetupError, match="No such file"):
        await keys(house, secret=f"file:{tmp_path / 'gone'}")


async def test_changing_the_key_logs_nobody_out(tmp_path: Path) -> None:
    """Old key alone, then the new one signs and both are believed, then the new one alone."""
    steps = [{"secret": OLD}, {"secret": OLD, "keys": [NEW]}, {"secret": NEW}]
    async with site(tmp_path, settings={"auth": steps[0]}) as here:
        old = (await here.call("auth.dev", name="ada", device="a")).json()["token"]
    async with site(tmp_path, settings={"auth": steps[1]}) as here:
        assert (await here.call("user.me", old)).status_code == 200
        renewed = (await here.call("auth.refresh", old)).json()["token"]
        assert (await here.call("user.me", renewed)).status_code == 200
    async with site(tmp_path, settings={"auth": steps[2]}) as here:
        assert (await here.call("user.me", renewed)).status_code == 200
        assert (await here.call("user.me", old)).status_code == 401
