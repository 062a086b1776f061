"""Several ways in for one user: linked by proof, never taken from somebody else, and what unlinking ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attrs import define
from chat_common.errors import ChatError, Conflict, NotAuthenticated, NotPermitted
from chat_common.ports.identity import Attempt, Proof
from chat_common.records import Caller
from chat_server.auth.settings import AuthSettings

from tests.chat_server.auth.desks import Desk
from tests.chat_server.house import Store, opened


@define(kw_only=True)
class Badge:
    number: str
    code: str


class BadgeIdentity:
    """As a plugin would bring it: badges whose code is their number backwards."""

    name, title, credentials = "badge", "Your badge", Badge

    async def prove(self, credentials: Badge, attempt: Attempt) -> Proof:
        if credentials.code != credentials.number[::-1]:
            raise NotAuthenticated("This badge is not good.")
        return Proof("badge", credentials.number, f"Badge {credentials.number}")


@asynccontextmanager
async def badges(store: Store, **settings: Any) -> AsyncIterator[Desk]:
    auth = AuthSettings(dev=True, **settings)
    async with opened(store, auth=auth, identity_providers={"badge": BadgeIdentity()}) as house:
        yield Desk(house)


ONE = {"number": "12", "code": "21"}


async def by_badge(here: Desk, device: str = "door", **credentials: str) -> str:
    params = {**(credentials or ONE), "device": {"id": device, "platform": "web"}}
    return str((await here.house.pipeline.call(Caller(None, "r"), "auth.badge", params)).token)


async def link(here: Desk, token: str, **credentials: str) -> list[tuple[str, str]]:
    answer = await here.call(token, "auth.link", provider="badge", credentials=credentials or ONE)
    return [(each.provider, each.subject) for each in answer.identities]


async def test_a_plugins_direct_login_gives_a_token(store: Store) -> None:
    async with badges(store) as here:
        token = await by_badge(here)
        assert (await here.hello(token, "door")).user.name == "Badge 12"
        assert (await here.call(token, "auth.devices")).devices[0].provider == "badge"
        with pytest.raises(NotAuthenticated):
            await by_badge(here, number="12", code="12")
        methods = (await here.house.pipeline.call(Caller(None, "r"), "auth.methods", {})).methods
        assert [(each.name, each.tickets) for each in methods] == [("badge", False), ("dev", False)]


async def test_registration_holds_for_every_provider(store: Store) -> None:
    async with badges(store, registration="closed") as here:
        with pytest.raises(NotPermitted):
            await by_badge(here)


async def test_a_linked_identity_is_another_way_to_the_same_user(store: Store) -> None:
    async with badges(store) as here:
        token = await here.log_in("web")
        me = (await here.hello(token)).user.user
        for _ in range(2):  # an answer that was lost
            assert await link(here, token) == [("badge", "12"), ("dev", "ada")]
        assert (await here.hello(await by_badge(here))).user.user == me


async def test_an_identity_of_somebody_else_is_not_taken(store: Store) -> None:
    async with badges(store) as here:
        theirs = (await here.hello(await by_badge(here))).user.user
        mine = await here.log_in("web")
        with pytest.raises(Conflict, match="another account"):
            await link(here, mine)
        assert (await here.hello(await by_badge(here))).user.user == theirs


async def test_what_is_linked_must_be_proven(store: Store) -> None:
    async with badges(store) as here:
        token = await here.log_in("web")
        with pytest.raises(NotAuthenticated):
            await link(here, token, number="12", code="12")
        for bad in ({"number": "12"}, {"number": 12, "code": "21"}):
            with pytest.raises(ChatError) as caught:
                await link(here, token, **bad)  # type: ignore[arg-type]
            assert (caught.value.code, caught.value.field) == ("invalid", "credentials")
        with pytest.raises(ChatError, match="cannot be linked"):
            await here.call(token, "auth.link", provider="qr", credentials={})


async def test_an_old_login_changes_no_way_in(store: Store) -> None:
    """A stolen session cannot make itself at home."""
    async with badges(store) as here:
        token = await here.log_in("web")
        await link(here, token)
        here.house.clock.advance(901)
        with pytest.raises(NotPermitted, match="log in again"):
            await link(here, token, number="34", code="43")
        with pytest.raises(NotPermitted, match="log in again"):
            await here.call(token, "auth.unlink", provider="badge")


async def test_unlinking_ends_what_came_by_it_and_never_the_last_way_in(store: Store) -> None:
    async with badges(store) as here:
        token = await here.log_in("web")
        with pytest.raises(Conflict, match="last way"):
            await here.call(token, "auth.unlink", provider="dev")
        await link(here, token)
        badge = await by_badge(here)
        assert [each.provider for each in (await here.call(token, "auth.unlink", provider="badge")).identities] == [
            "dev"
        ]
        assert await here.is_in(badge, "door") == "not_authenticated 4401"
        assert await here.ended() == {"door": "unlinked"}
        assert await here.is_in(token) == "in"
        with pytest.raises(ChatError) as caught:
            await here.call(token, "auth.unlink", provider="badge")
        assert caught.value.code == "not_found"
        assert (await here.hello(await by_badge(here))).user.name == "Badge 12", "somebody new"
