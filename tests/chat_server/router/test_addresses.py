"""An address belongs to the login that subscribed, is one of ten, and ends with its login however that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from chat_common.errors import ChatError, Invalid, NotAuthenticated
from chat_common.memory.push import MemoryPush
from chat_common.records import Caller
from chat_server.auth.hashing import Hasher
from chat_server.auth.passwords import PasswordIdentity
from chat_server.auth.set_password import ChangePassword, SetPassword
from chat_server.store.account_schema import push_address
from chat_server.store.push_addresses import MOST
from sqlalchemy import select

from tests.chat_server.auth.desks import Desk, desk
from tests.chat_server.house import Store, plain

DAY = 86_400


@pytest.fixture
async def here(store: Store) -> AsyncIterator[Desk]:
    """Any number of logins, and a provider to push with."""
    async with desk(store, devices_max=0, push_providers={"memory": MemoryPush()}) as made:
        yield made


async def subscribed(here: Desk, device: str | None, address: dict[str, Any] | None = None, **others: Any) -> str:
    """The token of a fresh login that is told under ``address``, by default one of its device's own."""
    token = await here.log_in(device, **others)
    await here.call(token, "push.subscribe", provider="memory", address=address or {"to": device})
    here.house.clock.advance(1)
    return token


async def listed(here: Desk, token: str) -> list[str]:
    """The devices in ``push.list``."""
    return [each.device for each in (await here.call(token, "push.list")).addresses]


async def kept(here: Desk) -> list[tuple[str, str]]:
    """(login, address) of what stands in the store, the newest first."""
    rows = await here.house.rows(select(push_address).order_by(push_address.c.subscribed_at.desc()))
    return [(row.login, row.address) for row in rows]


async def test_one_sees_where_one_is_told_and_no_secret_of_it(here: Desk) -> None:
    phone = await subscribed(here, "pixel", {"secret": "s3cret"})
    asking = await here.hello(await subscribed(here, "web"))
    await subscribed(here, "pixel", name="bob")
    answer = plain(await here.call(phone, "push.list"))
    assert [(each["device"], each["provider"], each["current"]) for each in answer["addresses"]] == [
        ("web", "memory", False),
        ("pixel", "memory", True),
    ]
    assert answer["providers"] == [{"name": "memory", "public": {}}]
    assert answer["addresses"][0].keys() == {"login", "device", "provider", "subscribed_at", "current"}
    assert answer["addresses"][0]["login"] == asking.token
    assert answer["addresses"][0]["subscribed_at"] == here.house.clock.wall_ms() - 2_000
    assert "s3cret" not in str(answer)


async def test_a_renewed_address_takes_the_place_of_the_old_one(here: Desk) -> None:
    token = await subscribed(here, "pixel", {"to": "old"})
    await here.call(token, "push.subscribe", provider="memory", address={"to": "new"})
    assert [address for _, address in await kept(here)] == ['{"to":"new"}']


async def test_a_device_that_comes_again_under_a_new_login_is_told_once(here: Desk) -> None:
    """Its page was emptied, so that it has another device id; its platform still gives it the same address."""
    await subscribed(here, "web", {"to": "browser"})
    after = await here.hello(await subscribed(here, "emptied", {"to": "browser"}))
    assert await kept(here) == [(after.token, '{"to":"browser"}')]


async def test_the_address_of_another_user_is_never_touched(here: Desk) -> None:
    ada, bob = await subscribed(here, "web", {"to": "x"}), await subscribed(here, "web", {"to": "x"}, name="bob")
    await here.call(ada, "push.unsubscribe", device="web")
    await here.call(ada, "push.unsubscribe", login=(await here.hello(bob)).token)
    assert [login for login, _ in await kept(here)] == [(await here.hello(bob)).token]


async def test_of_more_than_ten_the_oldest_goes(here: Desk) -> None:
    tokens = [await subscribed(here, f"d{number}") for number in range(MOST)]
    await here.call(tokens[0], "push.subscribe", provider="memory", address={"to": "renewed"})
    here.house.clock.advance(1)
    last = await subscribed(here, "one-more")
    assert await listed(here, last) == ["one-more", "d0", *(f"d{number}" for number in range(MOST - 1, 1, -1))]
    assert len(await kept(here)) == MOST


async def test_ten_is_the_most_when_they_come_at_once_on_two_nodes(store: Store) -> None:
    push = {"memory": MemoryPush()}
    async with (
        desk(store, devices_max=0, push_providers=push) as here,
        desk(store, devices_max=0, push_providers=push) as there,
    ):
        tokens = [await here.log_in(f"d{number}") for number in range(MOST + 6)]
        await asyncio.gather(
            *(
                (here, there)[number % 2].call(token, "push.subscribe", provider="memory", address={"to": number})
                for number, token in enumerate(tokens)
            )
        )
        assert len(await kept(here)) == MOST


# --- the end of the login -----------------------------------------------------------------------------------------


async def logout(here: Desk, token: str, mine: str) -> None:
    await here.call(token, "auth.logout")


async def kick(here: Desk, token: str, mine: str) -> None:
    await here.call(mine, "auth.kick", device="pixel")


async def password(here: Desk, token: str, mine: str) -> None:
    auth = here.house.rooms.auth
    passwords = PasswordIdentity(here.house.database, auth._ports.cache, auth.issuer.settings, Hasher())
    change = ChangePassword(auth._ports, auth.issuer.settings, auth.issuer.signer, passwords, auth.endings)
    await change(await here.caller(mine), SetPassword(password="correct horse"))
    assert len(await kept(here)) == 2  # a first password proves nothing about other devices
    await change(await here.caller(mine), SetPassword(password="another horse", old="correct horse"))


async def deletion(here: Desk, token: str, mine: str) -> None:
    await here.house.rooms.admin.deletions.carry_out("app", (await here.hello(token)).user.user, False)


async def ban(here: Desk, token: str, mine: str) -> None:
    await here.house.rooms.auth.ban((await here.hello(token)).user.user)


async def expiry(here: Desk, token: str, mine: str) -> None:
    here.house.clock.advance(31 * DAY)
    await here.house.database.change(here.house.rooms.auth.forget_old)


End = Callable[[Desk, str, str], Awaitable[None]]


@pytest.mark.parametrize("end", [logout, kick, password, deletion, ban, expiry])
async def test_an_address_ends_with_its_login(here: Desk, end: End) -> None:
    mine = await subscribed(here, "web")
    token = await subscribed(here, "pixel")
    family, own = (await here.hello(token)).token, (await here.hello(mine)).token
    assert {login for login, _ in await kept(here)} == {family, own}
    await end(here, token, mine)
    all_of_the_user = end in (deletion, ban, expiry)
    assert [login for login, _ in await kept(here)] == ([] if all_of_the_user else [own])


async def test_a_login_that_is_over_is_not_listed_before_it_is_swept(here: Desk) -> None:
    await subscribed(here, "pixel")
    here.house.clock.advance(31 * DAY)
    assert await listed(here, await here.log_in("web")) == []
    assert len(await kept(here)) == 1


async def test_a_device_that_logs_in_again_takes_its_address_along(here: Desk) -> None:
    await subscribed(here, "pixel")
    again = await here.hello(await here.log_in("pixel"))
    assert await kept(here) == [(again.token, '{"to":"pixel"}')]


async def test_one_that_takes_the_place_of_another_does_not_take_its_address(store: Store) -> None:
    async with desk(store, sessions="one", push_providers={"memory": MemoryPush()}) as here:
        await subscribed(here, "pixel")
        await here.hello(await here.log_in("web"), "web")
        assert await kept(here) == []


async def test_a_device_that_names_itself_later_takes_its_address_along(here: Desk) -> None:
    await subscribed(here, "pixel")
    unnamed = await subscribed(here, None, {"to": "unnamed"})
    assert await listed(here, unnamed) == ["", "pixel"]
    bound = await here.hello(unnamed, "pixel")
    assert await kept(here) == [(bound.token, '{"to":"unnamed"}')]
    assert await listed(here, unnamed) == ["pixel"]


async def test_a_logout_at_the_same_time_leaves_no_address_behind(store: Store) -> None:
    push = {"memory": MemoryPush()}
    async with desk(store, push_providers=push) as here, desk(store, push_providers=push) as there:
        for number in range(20):
            token = await here.log_in("pixel", name=f"ada-{number}")
            one, other = await here.caller(token), await there.caller(token)
            address = {"provider": "memory", "address": {"to": number}}
            calls = [
                here.house.pipeline.call(one, "push.subscribe", address),
                there.house.pipeline.call(other, "auth.logout", {}),
            ]
            outcomes = await asyncio.gather(*(calls if number % 2 else reversed(calls)), return_exceptions=True)
            assert all(isinstance(each, NotAuthenticated) for each in outcomes if isinstance(each, BaseException))
            assert await kept(here) == []


# --- what is refused ----------------------------------------------------------------------------------------------


async def refusal(here: Desk, token: str, **params: Any) -> dict[str, Any]:
    with pytest.raises(ChatError) as refused:
        await here.call(token, "push.subscribe", **{"provider": "memory", "address": {}} | params)
    assert await kept(here) == []
    return refused.value.as_dict()


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"provider": "nobody"}, "provider"),
        ({"provider": "p" * 33}, "provider"),
        ({"address": {"to": "x" * 4_088}}, "address"),
        ({"address": {"to": "🙂" * 1_022}}, "address"),
        ({"address": "x"}, "address"),
        ({"device": "made-up"}, "device"),
        ({"device": "d" * 65}, "device"),
    ],
)
async def test_what_is_refused_names_its_field(here: Desk, params: dict[str, Any], field: str) -> None:
    body = await refusal(here, await here.log_in("pixel"), **params)
    assert (body["code"], body["field"]) == ("invalid", field)


async def test_the_longest_address_is_taken(here: Desk) -> None:
    token = await subscribed(here, "pixel", {"to": "x" * 4_087})
    assert await listed(here, token) == ["pixel"]


async def test_one_without_a_login_has_no_address(here: Desk) -> None:
    user = (await here.hello(await here.log_in("pixel"))).user.user
    with pytest.raises(NotAuthenticated):
        await here.house.pipeline.call(Caller(user, "r"), "push.subscribe", {"provider": "memory", "address": {}})


async def test_unsubscribing_takes_the_own_one_a_device_or_a_login(here: Desk) -> None:
    tokens = {device: await subscribed(here, device) for device in ("web", "pixel", "desk", "iphone")}
    mine = tokens["web"]
    await here.call(mine, "push.unsubscribe", device="pixel")
    assert await listed(here, mine) == ["iphone", "desk", "web"]
    await here.call(mine, "push.unsubscribe", login=(await here.hello(tokens["desk"])).token)
    assert await listed(here, mine) == ["iphone", "web"]
    await here.call(mine, "push.unsubscribe")
    await here.call(mine, "push.unsubscribe")
    assert await listed(here, mine) == ["iphone"]
    with pytest.raises(Invalid, match="not both"):
        await here.call(mine, "push.unsubscribe", device="iphone", login="x")


async def test_without_a_provider_nothing_can_be_subscribed_and_the_list_says_so(store: Store) -> None:
    async with desk(store) as here:
        token = await here.log_in("pixel")
        assert plain(await here.call(token, "push.list")) == {"addresses": [], "providers": []}
        with pytest.raises(ChatError, match=r"push\.subscribe"):
            await here.call(token, "push.subscribe", provider="memory", address={})


async def test_what_no_client_of_a_platform_subscribes_with_is_not_kept(store: Store) -> None:
    class Picky(MemoryPush):
        def check(self, values: Any) -> None:
            raise Invalid("address.token: A token is expected.", field="address")

    async with desk(store, push_providers={"memory": Picky()}) as here:
        token = await here.log_in("pixel")
        with pytest.raises(Invalid, match=r"address\.token"):
            await here.call(token, "push.subscribe", provider="memory", address={})
        assert await kept(here) == []
