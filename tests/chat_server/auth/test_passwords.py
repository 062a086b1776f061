"""Names and passwords over real HTTP: policy, throttling, and what a guesser learns (nothing)."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_common.clock import ManualClock
from chat_common.errors import RateLimited
from chat_common.memory.cache import MemoryCache
from chat_server.auth.passwords import PasswordIdentity
from chat_server.auth.settings import AuthSettings
from chat_server.store.account_schema import identity
from sqlalchemy import select

from tests.chat_server.auth.screens import site

GOOD = "correct horse"


async def test_one_registers_and_logs_in_by_any_spelling_of_the_name(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        made = (await here.call("auth.register", name="Ada Ж", password=GOOD, device={"id": "d1"})).json()
        assert (await here.call("user.me", made["token"])).json() == made["user"]
        for name in ("Ada Ж", "ADA ж", "  ａｄａ Ж "):
            assert (await here.call("auth.password", name=name, password=GOOD)).json()["user"] == made["user"]
        kept = await here.server.database.read(
            lambda connection: connection.execute(select(identity.c.secret)).scalar_one()
        )
        assert kept.startswith("$argon2id$")


async def test_an_unknown_name_and_a_wrong_password_look_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(tmp_path) as here:
        await here.call("auth.register", name="Ada", password=GOOD)
        checked: list[str] = []
        passwords = here.server.rooms.auth.passwords
        assert passwords is not None
        inner = passwords.hasher._hasher

        class Counted:
            def verify(self, kept: str, password: str) -> bool:
                checked.append(kept.rpartition("$")[0].rpartition("$")[0])  # the parameters, which are the cost
                return inner.verify(kept, password)

        monkeypatch.setattr(passwords.hasher, "_hasher", Counted())
        wrong = await here.call("auth.password", name="Ada", password="wrong horse")
        unknown = await here.call("auth.password", name="Bob", password="wrong horse")
        assert (wrong.status_code, wrong.json()) == (unknown.status_code, unknown.json())
        assert wrong.status_code == 401
        assert len(checked) == 2
        assert checked[0] == checked[1]


async def test_guessing_is_throttled_and_ends(tmp_path: Path) -> None:
    clock = ManualClock()
    settings = {"auth": {"attempts": 3, "attempts_period": 60.0}}
    async with site(tmp_path, settings=settings, clock=clock) as here:
        await here.call("auth.register", name="Ada", password=GOOD)
        for name in ("Ada", "ADA", "ada"):
            assert (await here.call("auth.password", name=name, password="wrong horse")).status_code == 401
        refused = await here.call("auth.password", name="Ada", password=GOOD)
        assert refused.status_code == 429
        assert 0 < refused.json()["retry_after"] <= 20
        assert (await here.call("auth.password", name="Bob", password=GOOD)).status_code == 401
        clock.advance(refused.json()["retry_after"] + 0.01)
        assert (await here.call("auth.password", name="Ada", password=GOOD)).status_code == 200


async def test_one_address_cannot_try_one_password_on_many_names() -> None:
    clock = ManualClock()
    passwords = PasswordIdentity(None, MemoryCache(clock), AuthSettings(attempts=2))  # type: ignore[arg-type]
    for number in range(10):
        await passwords.throttle(f"name{number}", "192.0.2.7")
    with pytest.raises(RateLimited) as caught:
        await passwords.throttle("another", "192.0.2.7")
    assert caught.value.retry_after
    await passwords.throttle("another", "192.0.2.8")
    for number in range(20):  # this machine itself is not one guesser
        await passwords.throttle(f"here{number}", None)


async def test_a_guesser_keeps_out_no_device_that_has_been_in(tmp_path: Path) -> None:
    settings = {"auth": {"attempts": 3, "attempts_period": 60.0}}
    async with site(tmp_path, settings=settings, clock=ManualClock()) as here:
        await here.call("auth.register", name="Ada", password=GOOD, device="laptop")
        for number in range(3):
            wrong = {"name": "Ada", "password": "wrong horse", "device": f"stranger-{number}"}
            assert (await here.call("auth.password", **wrong)).status_code == 401
        assert (await here.call("auth.password", name="Ada", password=GOOD, device="new")).status_code == 429
        assert (await here.call("auth.password", name="Ada", password=GOOD, device="laptop")).status_code == 200
        for _ in range(2):
            await here.call("auth.password", name="Ada", password="wrong horse", device="laptop")
        assert (await here.call("auth.password", name="Ada", password=GOOD, device="laptop")).status_code == 429
