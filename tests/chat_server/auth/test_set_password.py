"""A password is set and changed by its owner, and what that ends."""

from __future__ import annotations

from pathlib import Path

from chat_server.store.schema import reply
from sqlalchemy import select

from tests.chat_server.auth.screens import press, site
from tests.support.raw import raw

GOOD = "correct horse"


async def test_a_password_is_set_and_changed_by_its_owner(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        ada = (await here.call("auth.dev", name="Ada")).json()["token"]
        assert (await here.call("auth.password.set", ada, password=GOOD)).json() == {"name": "ada"}
        assert (await here.call("auth.password", name="Ada", password=GOOD)).status_code == 200
        for old in ({}, {"old": "wrong horse"}):
            answer = await here.call("auth.password.set", ada, password="another horse", **old)
            assert (answer.status_code, answer.json()["field"]) == (401, "old")
        for _ in range(2):  # a client that did not hear the answer asks again
            answer = await here.call("auth.password.set", ada, password="another horse", old=GOOD)
            assert answer.status_code == 200
        assert (await here.call("auth.password", name="Ada", password=GOOD)).status_code == 401
        assert (await here.call("auth.password", name="Ada", password="another horse")).status_code == 200
        kept = await here.server.database.read(lambda connection: connection.execute(select(reply)).all())
        assert kept == []  # a kept reply has a hash of its request, from which a password could be guessed


async def test_a_new_password_ends_every_other_way_in(tmp_path: Path) -> None:
    """Logins, phones that are remembered, and a login that a phone has confirmed and nobody has collected yet."""
    async with site(tmp_path) as here, raw(here.url) as socket:
        mine = (await here.call("auth.register", name="Ada", password=GOOD, device="mine")).json()["token"]
        other = (await here.call("auth.password", name="Ada", password=GOOD, device="other")).json()["token"]
        await socket.hello(other, "other")
        phone, waiting = here.browser(), await here.begin()
        await press(phone, waiting["url"], "password", name="Ada", password=GOOD)
        assert "Log in as Ada" in (await phone.get((await here.begin())["url"])).text

        changed = (await here.call("auth.password.set", mine, password="another horse", old=GOOD)).json()
        assert changed["name"] == "ada"
        assert await socket.closed() == 4401
        assert (await here.call("user.me", other)).status_code == 401
        assert "Log in as Ada" not in (await phone.get((await here.begin())["url"])).text
        assert await here.state(waiting["ticket"]) == {"state": "refused"}
        for token in (changed["token"], mine):  # the old one stays for its grace
            assert (await here.call("user.me", token)).status_code == 200
        assert changed["token"] != mine


async def test_a_first_password_ends_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        ada, other = [(await here.call("auth.dev", name="Ada", device=each)).json()["token"] for each in "ab"]
        assert (await here.call("auth.password.set", ada, password=GOOD)).status_code == 200
        assert (await here.call("user.me", other)).status_code == 200
