"""Which registration somebody is, and what it gives: counted in its transaction, carried by the outbox."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import msgspec
import pytest
from attrs import evolve
from chat_common.errors import ChatError
from chat_server.items.registrations import KEY, TOPIC, Registered
from chat_server.items.settings import ItemSettings
from chat_server.store.schema import item, meta, user
from chat_server.store.tx import Tx
from sqlalchemy import select

from tests.chat_server.house import House, Store, opened

ON = ItemSettings(enabled=True)


async def carry(house: House) -> None:
    if records := house.outbox.take(TOPIC):
        await house.rooms.items.registered(records)


async def test_of_two_hundred_at_once_exactly_ten_are_the_first_ten(store: Store) -> None:
    async with contextlib.AsyncExitStack() as stack:
        count = 2 if store.dialect == "postgresql" else 1
        houses = [await stack.enter_async_context(opened(store, items=ON)) for _ in range(count)]
        await asyncio.gather(*(houses[number % count].user(f"user {number}") for number in range(200)))
        told = [
            msgspec.json.decode(each.payload, type=Registered) for house in houses for each in house.outbox.ready
            if each.topic == TOPIC
        ]  # fmt: skip
        assert sorted(each.number for each in told) == list(range(1, 201))
        await asyncio.gather(*(carry(house) for house in houses))
        rows = await houses[0].rows(select(item.c.item, item.c.user))
        assert Counter(row.item for row in rows) == {"first_ten": 10, "first_hundred": 90, "rename_card": 200}
        early = {each.user for each in told if each.number <= 10}
        assert {row.user for row in rows if row.item == "first_ten"} == early
        worn = await houses[0].rows(select(user.c.user).where(user.c.badge.is_not(None)))
        assert len(worn) == 100


async def test_a_consumer_that_dies_between_its_grant_and_its_acknowledgement_gives_one_item(store: Store) -> None:
    async with opened(store, items=ON) as house:
        who = await house.user("ada")
        records = house.outbox.take(TOPIC)
        await house.rooms.items.registered(records)  # committed; the acknowledgement is lost with the process
    async with opened(store, items=ON) as house:
        await house.rooms.items.registered([*records, *records])
        rows = await house.rows(select(item.c.item).where(item.c.user == who).order_by(item.c.item))
        assert [row.item for row in rows] == ["first_ten", "rename_card"]


async def test_a_consumer_that_dies_before_its_commit_gives_it_the_next_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = await house.user("ada")
    records = house.outbox.take(TOPIC)
    with monkeypatch.context() as patched:

        def dies(_tx: Tx) -> None:
            raise ConnectionError("killed")

        patched.setattr(Tx, "finish", dies)
        with pytest.raises(ConnectionError):
            await house.rooms.items.registered(records)
    assert await house.rows(select(item)) == []
    await house.rooms.items.registered(records)
    assert len(await house.rows(select(item).where(item.c.user == who))) == 2


async def test_a_registration_that_fails_takes_no_number(house: House) -> None:
    await house.user("ada")
    before = await house.rows(select(meta.c.value).where(meta.c.key == KEY))
    create = house.rooms.admin.users.neighbours.create_user

    def half(tx: Tx) -> None:
        create(tx, "bob")
        raise ChatError("no")

    with pytest.raises(ChatError):
        await house.rooms.executor.apply(half)
    assert await house.rows(select(meta.c.value).where(meta.c.key == KEY)) == before
    await house.user("cem")
    assert (await house.rows(select(meta.c.value).where(meta.c.key == KEY)))[0].value == "2"


async def test_users_from_a_time_without_items_count_as_registered(store: Store) -> None:
    async with opened(store) as off:
        await off.users(*(f"old {number}" for number in range(9)))
        assert off.outbox.take(TOPIC) == []
    async with opened(store, items=ON) as house:
        tenth, eleventh = await house.users("tenth", "eleventh")
        await carry(house)
        rows = await house.rows(select(item.c.item, item.c.user).where(item.c.item != "rename_card"))
        assert {(row.item, row.user) for row in rows} == {("first_ten", tenth), ("first_hundred", eleventh)}


async def test_a_user_who_is_gone_stops_nobody_elses_items(house: House) -> None:
    await house.user("ada")
    records = house.outbox.take(TOPIC)
    lost = evolve(records[0], payload=msgspec.json.encode(Registered("nobody", 7)))
    await house.rooms.items.registered([lost, *records])
    assert len(await house.rows(select(item))) == 2


async def test_many_registrations_are_served_in_few_transactions(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.users(*(f"user {number}" for number in range(120)))
    records = house.outbox.take(TOPIC)
    finish, commits = Tx.finish, []

    def counted(tx: Tx) -> None:
        commits.append(tx)
        finish(tx)

    monkeypatch.setattr(Tx, "finish", counted)
    await house.rooms.items.registered(records)
    assert len(commits) == 3  # portions of 50
    assert len(await house.rows(select(item).where(item.c.item == "rename_card"))) == 120
