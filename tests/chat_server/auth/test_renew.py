"""The life of a token: renewed, lost, shared by two tabs, stolen; and how long a login lasts at all."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest
from chat_common.errors import ChatError
from chat_server.store.account_schema import push_address, token
from chat_server.store.schema import reply
from sqlalchemy import select

from tests.chat_server.auth.desks import Desk, desk
from tests.chat_server.house import Store

DAY = 86_400


async def refresh(here: Desk, given: str) -> str:
    return str((await here.call(given, "auth.refresh")).token)


async def test_an_answer_that_was_lost_logs_nobody_out(store: Store) -> None:
    async with desk(store) as here:
        first = await here.log_in("web")
        answers = {await refresh(here, first) for _ in range(3)}
        assert len(answers) == 1, "the same successor, letter for letter"
        here.house.clock.advance(3_600)
        assert await refresh(here, first) in answers
        assert await here.is_in(first) == "in"
        assert first not in answers


async def test_the_first_use_of_the_successor_retires_the_old_one_after_a_grace(store: Store) -> None:
    async with desk(store) as here:
        first = await here.log_in("web")
        second = await refresh(here, first)
        assert await here.is_in(second) == "in"
        here.house.clock.advance(59)
        assert await here.is_in(first) == "in", "the other tab"
        assert await refresh(here, first) == second, "which is given the same token"
        here.house.clock.advance(32)
        assert await here.is_in(first) == "not_authenticated"


async def test_a_retired_token_that_is_shown_ends_the_login(store: Store) -> None:
    async with desk(store) as here:
        first = await here.log_in("web")
        other = await here.log_in("iphone")
        second = await refresh(here, first)
        assert await here.is_in(second, "web") == "in"
        here.house.clock.advance(91)
        assert await here.is_in(first, "web") == "not_authenticated"
        assert await here.ended() == {"web": "reuse"}
        assert await here.is_in(second, "web") == "not_authenticated 4401"
        assert await here.is_in(second) == "not_authenticated 4401"
        assert await here.is_in(other, "iphone") == "in"
        assert [each.code for each in here.closed] == [4401]


async def test_renewals_go_on_and_each_retires_the_one_before(store: Store) -> None:
    async with desk(store) as here:
        chain = [await here.log_in("web")]
        for _ in range(4):
            here.house.clock.advance(10 * DAY)
            chain.append(await refresh(here, chain[-1]))
            assert await here.is_in(chain[-1]) == "in"
        assert len(set(chain)) == 5
        assert await here.living() == ["web"]
        here.house.clock.advance(31 * DAY)
        assert await here.is_in(chain[-1]) == "not_authenticated"


async def test_no_renewal_outlives_the_login(store: Store) -> None:
    async with desk(store, login_lifetime=45.0 * DAY) as here:
        began = here.house.clock.wall_ms()
        given = await here.log_in("web")
        here.house.clock.advance(20 * DAY)
        renewed = await here.call(given, "auth.refresh")
        assert renewed.expires_at == began + 45 * DAY * 1000
        here.house.clock.advance(25 * DAY + 1)
        assert await here.is_in(renewed.token) == "not_authenticated"
        assert await here.living() == []


async def test_a_login_may_last_for_ever(store: Store) -> None:
    async with desk(store, login_lifetime=0.0) as here:
        given = await here.log_in("web")
        for _ in range(10):
            here.house.clock.advance(29 * DAY)
            given = await refresh(here, given)
        assert await here.is_in(given) == "in"


async def test_two_sessions_of_one_token_are_pushed_the_same_renewal(store: Store) -> None:
    async with desk(store) as here:
        who = await here.hello(await here.log_in("web"), "web")
        auth = here.house.rooms.auth
        one, two = await asyncio.gather(auth.renew(who), auth.renew(who))
        assert one.token == two.token
        fresh = one.identity
        assert fresh.token == who.token
        assert fresh.jti != who.jti
        # A push may be lost: it is no use, and the old token stays good.
        here.house.clock.advance(3_600)
        assert (await here.hello(one.token, "web")).token == who.token


async def test_a_renewal_of_what_was_ended_is_refused(store: Store) -> None:
    async with desk(store) as here:
        given = await here.log_in("web")
        who = await here.hello(given, "web")
        await here.call(given, "auth.logout")
        with pytest.raises(ChatError, match="logging out"):
            await here.house.rooms.auth.renew(who)


async def test_no_kept_reply_holds_a_token(store: Store) -> None:
    async with desk(store) as here:
        given = await here.log_in("web")
        await refresh(here, given)
        assert await here.house.rows(select(reply)) == []


async def test_tokens_that_are_over_are_forgotten_and_logins_a_month_later(store: Store) -> None:
    async with desk(store) as here:
        who = await here.hello(await here.log_in("web"), "web")
        auth, database = here.house.rooms.auth, here.house.database
        row = {"user": who.user.user, "login": who.token, "provider": "log", "address": "{}"}
        await database.change(lambda connection: connection.execute(push_address.insert(), row))
        assert await database.change(auth.forget_old) == 0
        here.house.clock.advance(31 * DAY)
        assert await database.change(auth.forget_old) == 1
        assert await here.house.rows(select(token)) == []
        assert await here.ended() == {"web": "expired"}
        assert await here.house.rows(select(push_address)) == []
        here.house.clock.advance(30 * DAY)
        assert await database.change(auth.forget_old) == 1


@pytest.mark.parametrize("field", ["user", "login"])
async def test_user_and_id_of_a_token_are_compared_with_the_store(store: Store, field: str) -> None:
    """Even a good signature lends nobody the login of another user."""
    async with desk(store) as here:
        signer = here.house.rooms.auth.issuer.signer
        mine, theirs = await here.log_in("web"), await here.log_in("web", name="eve")
        claims: Any = attrs.evolve(signer.read(mine), **{field: getattr(signer.read(theirs), field)})
        assert await here.is_in(signer.sign(claims), "web") == "not_authenticated"
