"""The table of docs/logins.md, cell by cell: A an iPhone, W a browser, B an Android phone, in this order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from chat_common.errors import ChatError, NotAuthenticated
from chat_server.auth.issue import TooManyLogins
from chat_server.store.account_schema import login, push_address
from sqlalchemy import select

from tests.chat_server.auth.desks import Desk, desk
from tests.chat_server.house import Store, read_transactions

ONE = {"sessions": "one"}
ONE_REFUSES = {"sessions": "one", "on_conflict": "refuse"}
CLASSES = {"sessions": "one_per_platform"}
TWO = {"devices_max": 2}
TWO_REFUSES = {"devices_max": 2, "on_conflict": "refuse"}
POLICIES = [ONE, ONE_REFUSES, CLASSES, TWO, TWO_REFUSES]
every_policy = pytest.mark.parametrize("policy", POLICIES, ids=["one", "one_refuses", "classes", "two", "two_refuses"])


def devices(refused: pytest.ExceptionInfo[TooManyLogins]) -> list[str]:
    body = refused.value.as_dict()
    assert body["code"] == "conflict"
    return [each["device"] for each in body["details"]["devices"]]


async def enter(here: Desk, device: str) -> str:
    token = await here.log_in(device)
    await here.online(device, token)
    here.house.clock.advance(1)
    return token


@every_policy
async def test_the_first_device_is_in(store: Store, policy: dict[str, Any]) -> None:
    async with desk(store, **policy) as here:
        assert await here.is_in(await enter(here, "iphone"), "iphone") == "in"


@pytest.mark.parametrize(
    ("policy", "living"),
    [(ONE, ["web"]), (CLASSES, ["iphone", "web"]), (TWO, ["iphone", "web"]), (TWO_REFUSES, ["iphone", "web"])],
)
async def test_a_browser_beside_the_iphone(store: Store, policy: dict[str, Any], living: list[str]) -> None:
    async with desk(store, **policy) as here:
        await enter(here, "iphone")
        await enter(here, "web")
        assert await here.living() == living
        closes = [(each.code, each.reconnect) for each in here.closed]
        assert closes == ([(4409, "never")] if living == ["web"] else [])


async def test_one_that_refuses_keeps_the_browser_out_while_the_iphone_is_online(store: Store) -> None:
    async with desk(store, **ONE_REFUSES) as here:
        await enter(here, "iphone")
        here.house.clock.advance(60)
        with pytest.raises(TooManyLogins) as refused:
            await here.log_in("web")
        assert devices(refused) == ["iphone"]
        assert await here.living() == ["iphone"]
        await here.offline("iphone")
        await here.log_in("web")
        assert await here.living() == ["web"]


async def test_the_refused_choose_whom_to_replace(store: Store) -> None:
    async with desk(store, **TWO_REFUSES) as here:
        await enter(here, "iphone")
        await enter(here, "web")
        with pytest.raises(TooManyLogins) as refused:
            await here.log_in("pixel")
        assert devices(refused) == ["iphone", "web"]
        await here.log_in("pixel", replace="web")
        assert await here.living() == ["iphone", "pixel"]


@pytest.mark.parametrize(("policy", "living"), [(ONE, ["pixel"]), (CLASSES, ["pixel", "web"]), (TWO, ["pixel", "web"])])
async def test_an_android_beside_both(store: Store, policy: dict[str, Any], living: list[str]) -> None:
    async with desk(store, **policy) as here:
        await enter(here, "iphone")
        await enter(here, "web")
        await enter(here, "pixel")
        assert await here.living() == living


async def test_one_that_refuses_keeps_the_android_out_too(store: Store) -> None:
    async with desk(store, **ONE_REFUSES) as here:
        await enter(here, "iphone")
        with pytest.raises(TooManyLogins) as refused:
            await here.log_in("pixel")
        assert devices(refused) == ["iphone"]


@pytest.mark.parametrize("policy", [ONE, CLASSES, TWO], ids=["one", "classes", "two"])
async def test_the_offline_iphone_comes_back_after_it_was_replaced(store: Store, policy: dict[str, Any]) -> None:
    async with desk(store, **policy) as here:
        token = await enter(here, "iphone")
        await here.offline("iphone")
        await enter(here, "web")
        await enter(here, "pixel")
        living = await here.living()
        assert await here.is_in(token, "iphone") == "not_authenticated 4409"
        assert await here.ended() == {"iphone": "replaced"} | ({"web": "replaced"} if policy == ONE else {})
        assert await here.living() == living, "no other device is touched"


@pytest.mark.parametrize("policy", [ONE_REFUSES, TWO_REFUSES], ids=["one_refuses", "two_refuses"])
async def test_the_offline_iphone_comes_back_where_newcomers_are_refused(store: Store, policy: dict[str, Any]) -> None:
    async with desk(store, **policy) as here:
        token = await enter(here, "iphone")
        with_browser = policy == TWO_REFUSES
        if with_browser:
            await enter(here, "web")
        with pytest.raises(TooManyLogins):
            await here.log_in("pixel")
        await here.offline("iphone")
        assert await here.is_in(token, "iphone") == "in"
        if with_browser:
            with pytest.raises(TooManyLogins):
                await here.log_in("pixel")  # An offline device counts here.


@every_policy
async def test_the_same_device_again_ends_its_older_login(store: Store, policy: dict[str, Any]) -> None:
    async with desk(store, **policy) as here:
        first = await enter(here, "iphone")
        second = await here.log_in("iphone")
        assert await here.is_in(second, "iphone") == "in"
        assert await here.is_in(first, "iphone") == "not_authenticated 4409"
        assert await here.living() == ["iphone"]


@pytest.mark.parametrize(
    ("policy", "living", "conflicts"),
    [(ONE, 1, 0), (ONE_REFUSES, 1, 1), (CLASSES, 1, 0), (TWO, 2, 0), (TWO_REFUSES, 2, 0)],
    ids=["one", "one_refuses", "classes", "two", "two_refuses"],
)
async def test_two_in_the_same_millisecond(store: Store, policy: dict[str, Any], living: int, conflicts: int) -> None:
    rounds = 200 if store.dialect == "sqlite" else 40
    async with desk(store, **policy) as here:
        for number in range(rounds):
            name = f"ada-{number}"
            here.house.clock.advance(10)  # An address has a limit too.
            both = [here.log_in(device, name=name) for device in ("iphone", "pixel")]
            made = await asyncio.gather(*both, return_exceptions=True)
            refused = [each for each in made if isinstance(each, TooManyLogins)]
            tokens = [each for each in made if isinstance(each, str)]
            assert len(refused) == conflicts
            assert len(refused) + len(tokens) == 2
            assert [await here.is_in(token) for token in tokens].count("in") == living


@pytest.mark.parametrize(("policy", "living"), [(ONE, 1), (CLASSES, 1), (TWO, 2)], ids=["one", "classes", "two"])
async def test_two_in_the_same_millisecond_on_two_nodes(store: Store, policy: dict[str, Any], living: int) -> None:
    """Two connections of two nodes: the lock on the user decides, not the one writer of a process."""
    async with desk(store, **policy) as here, desk(store, **policy) as there:
        for number in range(40):
            name = f"ada-{number}"
            await here.log_in("desk", name=name)  # Somebody new would be made by one of the two after the other.
            for each in (here, there):
                each.house.clock.advance(10)
            tokens = await asyncio.gather(here.log_in("iphone", name=name), there.log_in("pixel", name=name))
            assert [await here.is_in(token) for token in tokens].count("in") == living


@every_policy
async def test_a_kicked_device_is_out_for_good(store: Store, policy: dict[str, Any]) -> None:
    async with desk(store, **{**policy, "sessions": "per_device"}) as here:
        mine, other = await enter(here, "web"), await enter(here, "pixel")
        who = await here.hello(other)
        row = {"user": who.user.user, "login": who.token, "provider": "log", "address": "{}"}
        await here.house.database.change(lambda connection: connection.execute(push_address.insert(), row))
        assert (await here.call(mine, "auth.kick", device="pixel")).kicked == ["pixel"]
        assert await here.ended() == {"pixel": "kick"}
        assert await here.is_in(other, "pixel") == "not_authenticated 4409"
        assert await here.is_in(other) == "not_authenticated 4409"
        assert await here.house.rows(push_address.select()) == []
        assert [(each.code, each.user) for each in here.closed] == [(4409, who.user.user)]


async def test_a_thief_with_the_token_can_only_be_the_device_that_it_belongs_to(store: Store) -> None:
    async with desk(store) as here:
        token = await enter(here, "iphone")
        for number in range(150):
            assert await here.is_in(token, f"made-up-{number}") == "not_authenticated"
        listed = (await here.call(token, "auth.devices")).devices
        assert [each.device for each in listed] == ["iphone"]
        other = await enter(here, "web")
        await here.call(other, "auth.kick", device="iphone")
        assert await here.is_in(token) == "not_authenticated 4409"


async def test_a_login_without_a_device_is_bound_by_its_first_hello(store: Store) -> None:
    async with desk(store, **ONE) as here:
        await enter(here, "iphone")
        nameless = await here.log_in(None)
        assert await here.living() == [""], "it counts as a device"
        assert (await here.hello(nameless, "desk", "linux")).device == "desk"
        assert await here.living() == ["desk"]
        assert await here.is_in(nameless, "another") == "not_authenticated"


async def test_the_class_of_a_device_counts_as_soon_as_it_is_known(store: Store) -> None:
    async with desk(store, **CLASSES) as here:
        await enter(here, "iphone")
        nameless = await here.log_in(None)
        assert await here.living() == ["", "iphone"]
        await here.hello(nameless, "pixel", "android")
        assert await here.living() == ["pixel"]


async def test_two_devices_that_show_a_fresh_token_at_once_are_not_both_in(store: Store) -> None:
    async with desk(store) as here:
        nameless = await here.log_in(None)
        found = await asyncio.gather(*(here.hello(nameless, name) for name in "ab"), return_exceptions=True)
        assert sorted(type(each).__name__ for each in found) == ["Identity", "NotAuthenticated"]


async def test_a_tenth_device_is_the_last(store: Store) -> None:
    async with desk(store) as here:
        tokens = []
        for number in range(12):
            tokens.append(await here.log_in(f"d{number}"))
            here.house.clock.advance(1)
        assert await here.living() == sorted(f"d{number}" for number in range(2, 12))


async def test_the_list_tells_where_from_and_how(store: Store) -> None:
    async with desk(store) as here:
        token = await enter(here, "iphone")
        await here.online("iphone", token)
        await enter(here, "web")
        phone, web = sorted((await here.call(token, "auth.devices")).devices, key=lambda each: each.device)
        assert (phone.current, phone.online, phone.platform) == (True, True, "ios")
        assert (web.current, web.address, web.provider) == (False, "192.0.2.7", "dev")
        assert web.login != phone.login
        assert web.ends_at - web.created_at == 180 * 86_400_000
        assert (await here.call(token, "auth.kick", login=web.login)).logins == [web.login]


async def test_a_ban_ends_all_logins(store: Store) -> None:
    async with desk(store) as here:
        token = await enter(here, "iphone")
        user = (await here.hello(token)).user.user
        auth, now = here.house.rooms.auth, here.house.clock.wall_ms()
        await auth.ban(user, until=now + 60_000)
        assert await here.is_in(token, "iphone") == "not_permitted"
        with pytest.raises(ChatError, match="banned"):
            await here.log_in("web")
        here.house.clock.advance(61)
        assert await here.is_in(token, "iphone") == "not_authenticated 4401", "over, and yet the login was ended"
        assert await here.is_in(await here.log_in("web")) == "in"


async def test_another_process_ends_a_login_and_this_one_closes_it(store: Store) -> None:
    async with desk(store) as here, desk(store) as other:
        token = await enter(here, "iphone")
        assert await other.is_in(token, "iphone") == "in"
        await here.call(token, "auth.logout")
        other.closed.clear()
        await other.house.rooms.auth.expire()
        assert [(each.code, each.token) for each in other.closed] == [(4401, (await login_of(here)))]
        other.closed.clear()
        await other.house.rooms.auth.expire()
        assert other.closed == [], "once"
        with pytest.raises(NotAuthenticated):
            await other.hello(token)
        reads = read_transactions(other.house.database)
        for _ in range(60):
            await other.house.rooms.auth.expire()
        assert len(reads) <= 5 or other.house.database.dialect != "sqlite", "a minute in which nothing is committed"


async def login_of(here: Desk) -> str:
    return str((await here.house.rows(select(login.c.login)))[0].login)
