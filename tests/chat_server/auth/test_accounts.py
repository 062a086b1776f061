"""Names and passwords over real HTTP: policy, throttling, and what a guesser learns (nothing)."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_common.clock import ManualClock
from chat_common.errors import RateLimited
from chat_common.memory.cache import MemoryCache
from chat_server.auth.passwords import Passwords
from chat_server.auth.settings import AuthSettings
from chat_server.store.schema import identity, reply
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


async def test_a_name_is_taken_once(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.call("auth.register", name="Ada", password=GOOD)
        again = await here.call("auth.register", name="aDA", password=GOOD)
        assert (again.status_code, again.json()["field"]) == (409, "name")


@pytest.mark.parametrize(("password", "limit"), [("1234567", 8), ("x" * 257, 256)])
async def test_a_password_has_its_length(tmp_path: Path, password: str, limit: int) -> None:
    async with site(tmp_path) as here:
        answer = (await here.call("auth.register", name="Ada", password=password)).json()
        assert (answer["code"], answer["field"], answer["limit"]) == ("invalid", "password", limit)


async def test_an_unknown_name_and_a_wrong_password_look_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(tmp_path) as here:
        await here.call("auth.register", name="Ada", password=GOOD)
        checked: list[str] = []
        passwords = here.server.rooms.auth.accounts.passwords
        verify = passwords._verify

        async def counted(kept: str, password: str) -> bool:
            checked.append(kept.rpartition("$")[0].rpartition("$")[0])  # the parameters, which are the cost
            return await verify(kept, password)

        monkeypatch.setattr(passwords, "_verify", counted)
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
    passwords = Passwords(None, MemoryCache(clock), AuthSettings(attempts=2))  # type: ignore[arg-type]
    for number in range(10):
        await passwords.throttle(f"name{number}", "192.0.2.7")
    with pytest.raises(RateLimited) as caught:
        await passwords.throttle("another", "192.0.2.7")
    assert caught.value.retry_after
    await passwords.throttle("another", "192.0.2.8")
    for number in range(20):  # this machine itself is not one guesser
        await passwords.throttle(f"here{number}", None)


async def test_registration_is_the_servers_policy(tmp_path: Path) -> None:
    async with site(tmp_path / "closed", settings={"auth": {"registration": "closed"}}) as here:
        answer = await here.call("auth.register", name="Ada", password=GOOD)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
    invited = {"auth": {"registration": "invite", "invite": ["open sesame", "打开"]}}
    async with site(tmp_path / "invite", settings=invited) as here:
        for params in ({}, {"invite": ""}, {"invite": "open"}):
            answer = await here.call("auth.register", name="Ada", password=GOOD, **params)
            assert (answer.status_code, answer.json()["field"]) == (403, "invite")
        assert (await here.call("auth.register", name="Ada", password=GOOD, invite="打开")).status_code == 200
    async with site(tmp_path / "none", settings={"auth": {"registration": "invite"}}) as here:
        assert (await here.call("auth.register", name="Ada", password=GOOD, invite="")).status_code == 403


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


async def test_what_is_not_configured_is_not_there(tmp_path: Path) -> None:
    only = {"ports": {"identity_provider": ["qr"]}, "auth": {"dev": False}}
    async with site(tmp_path, settings=only) as here:
        methods = (await here.call("auth.methods")).json()["methods"]
        assert [method["name"] for method in methods] == ["qr"]
        assert (await here.call("auth.password", name="Ada", password=GOOD)).json()["code"] == "invalid"
        assert 'type="password"' not in (await here.browser().get((await here.begin())["url"])).text
