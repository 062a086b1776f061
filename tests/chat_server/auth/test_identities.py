"""Who a proof belongs to: by subject, by alias, and when two processes meet somebody new at once."""

from __future__ import annotations

import asyncio

import pytest
from chat_common.errors import NotPermitted
from chat_common.ports.identity import Proof
from chat_server.auth.settings import AuthSettings
from chat_server.store.account_schema import identity
from chat_server.store.schema import user
from sqlalchemy import select

from tests.chat_server.house import House, Store, opened


async def resolve(house: House, proof: Proof, *, invited: bool = True) -> str:
    identities = house.rooms.auth.issuer.identities
    return (await house.rooms.executor.apply(lambda tx: identities.resolve(tx, proof, invited=invited))).user


async def test_the_same_subject_is_the_same_person_and_another_provider_is_not(house: House) -> None:
    ada = await resolve(house, Proof("here", "1", "Ada"))
    assert await resolve(house, Proof("here", "1", "Ada Lovelace")) == ada
    assert await resolve(house, Proof("there", "1", "Ada")) != ada


async def test_an_alias_leads_to_the_person_and_is_kept(house: House) -> None:
    ada = await resolve(house, Proof("app_one", "x", "Ada", aliases=(("union", "u-1"),)))
    assert await resolve(house, Proof("app_two", "y", "Ada", aliases=(("union", "u-1"),))) == ada
    assert await resolve(house, Proof("app_two", "y", "Ada")) == ada
    kept = {(row.provider, row.subject) for row in await house.rows(select(identity).where(identity.c.user == ada))}
    assert kept == {("app_one", "x"), ("app_two", "y"), ("union", "u-1")}


async def test_two_accounts_of_one_person_are_not_merged(house: House) -> None:
    by_subject = await resolve(house, Proof("app", "x", "Ada"))
    by_alias = await resolve(house, Proof("union", "u-1", "Ada"))
    both = Proof("app", "x", "Ada", aliases=(("union", "u-1"),))
    assert await resolve(house, both) == by_subject
    assert await resolve(house, Proof("union", "u-1", "Ada")) == by_alias


async def test_somebody_new_needs_registration(store: Store) -> None:
    async with opened(store, auth=AuthSettings(registration="closed")) as house:
        with pytest.raises(NotPermitted):
            await resolve(house, Proof("here", "1", "Ada"), invited=False)
        ada = await resolve(house, Proof("here", "1", "Ada"))
        assert await resolve(house, Proof("here", "1", "Ada"), invited=False) == ada


async def test_two_processes_that_meet_somebody_new_at_once_make_one_user(store: Store) -> None:
    async with opened(store) as one, opened(store) as two:
        for number in range(30):
            proof = Proof("here", f"new-{number}", "Ada")
            first, second = await asyncio.gather(resolve(one, proof), resolve(two, proof))
            assert first == second
        assert len(await one.rows(select(user.c.user))) == 30
