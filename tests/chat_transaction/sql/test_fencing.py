"""A fenced-out owner changes nothing; a lease is somebody's until it is over, by the clock that all share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import evolve
from chat_common.clock import ManualClock
from chat_common.ports.broker import BrokerRecord
from chat_transaction import consumer
from chat_transaction.sql import fencing, settling, tables
from chat_transaction.sql.fencing import Fence, FencedOut
from chat_transaction.sql.leases import Leases, ensure_shards
from chat_transaction.sql.outbox import shard_of
from chat_transaction.sql.registry import Capabilities
from sqlalchemy import create_engine, insert, update

from tests.chat_transaction.conftest import Shop, entry, until
from tests.services.postgresql import fresh_database, psycopg_url

RECORD = BrokerRecord("orders", "a", b"1", "uid-1")


@pytest.mark.parametrize("fences", [{shard_of("a"): 2}, {shard_of("a") + 1: 3}, {}])
async def test_an_effect_under_an_old_fence_does_not_happen(shop: Shop, fences: dict[int, int]) -> None:
    @consumer("orders", "books")
    def book(connection: Any, record: BrokerRecord) -> None:
        row = {"topic": "t", "group": "g", "key": "k", "payload": b"", "attempts": 1, "reason": "", "buried_at": 1}
        connection.execute(insert(tables.dead_letters), {**row, "uid": record.id})

    await shop.database.change(ensure_shards)
    await shop.database.change(lambda connection: connection.execute(update(tables.leases).values(fence=3)))
    handler = book.on(shop.database).handler
    token = fencing.current.set(Fence(fences))
    try:
        with pytest.raises(FencedOut):
            await handler([RECORD])
        assert not await shop.rows(tables.dead_letters)
        assert not await shop.rows(tables.inbox)
        fencing.current.set(Fence({shard_of("a"): 3}))
        await handler([RECORD])
    finally:
        fencing.current.reset(token)
    assert len(await shop.rows(tables.dead_letters)) == 1


async def test_who_loses_one_shard_goes_on_with_the_others_in_order(shop: Shop) -> None:
    """A batch of two shards, one of which another relay takes while the batch is in hand."""
    taken = False
    # Of one shard of the in-process broker, so that they come in one batch.
    mine, theirs = "a", next(key for key in map(str, range(1_000)) if (shard_of(key) - shard_of("a")) % 64 == 32)

    @consumer("orders", "books")
    def book(connection: Any, record: BrokerRecord) -> None:
        row = {"topic": "t", "group": "g", "key": record.key, "attempts": 1, "reason": "", "buried_at": 1}
        connection.execute(insert(tables.dead_letters), {**row, "payload": record.payload, "uid": record.id})

    def take(connection: Any) -> None:
        table = tables.leases
        other = update(table).where(table.c.shard == shard_of(theirs))
        connection.execute(other.values(owner="x:1:1:1", fence=table.c.fence + 1))

    async def applied() -> list[bytes]:
        return [row.payload for row in await shop.rows(tables.dead_letters) if row.key == mine]

    inside = book.on(shop.database, shop.clock)

    async def handle(records: Sequence[BrokerRecord]) -> None:
        nonlocal taken
        if not taken and {record.key for record in records} == {mine, theirs}:
            taken = True
            await shop.database.change(take)
        await inside.handler(records)

    async with shop.relaying(evolve(inside, handler=handle), scan_interval=0.05):
        await shop.write(*(entry(key, number) for number in range(3) for key in (mine, theirs)))

        await shop.write(entry(mine, 3))

        async def last() -> bool:
            return b"3" in await applied()

        await until(last)
    assert taken
    assert await applied() == [b"0", b"1", b"2", b"3"]


async def test_a_record_is_buried_once_for_a_group(shop: Shop) -> None:
    for group in ("books", "books", "mail"):
        await shop.database.change(settling.Burial(group, RECORD, "broken", 1))
    assert [row.group for row in await shop.rows(tables.dead_letters)] == ["books", "mail"]


async def test_a_lease_is_kept_until_its_end_and_not_longer(open_shop: Callable[..., Shop]) -> None:
    one, two = open_shop(clock=ManualClock()), open_shop(clock=ManualClock())
    await one.database.change(ensure_shards)
    ttl = 2.0
    first, second = Leases(one.database, one.clock, ttl), Leases(two.database, two.clock, ttl)
    held = await first.renew(Capabilities())
    assert len(held.fences) == tables.SHARDS
    assert held.deadline == pytest.approx(one.clock.monotonic() + 0.9 * ttl)
    assert not (await second.renew(Capabilities())).fences, "a lease that runs is another one's"
    # The first one vanishes. On PostgreSQL time passes by itself, and only there.
    started = time.monotonic()
    if one.database.dialect == "sqlite":
        two.clock.advance(ttl - 0.1)  # type: ignore[attr-defined]
        assert not (await second.renew(Capabilities())).fences
        two.clock.advance(0.2)  # type: ignore[attr-defined]

    async def taken_over() -> bool:
        return len((await second.renew(Capabilities())).fences) == tables.SHARDS

    await until(taken_over)
    if one.database.dialect == "postgresql":
        assert time.monotonic() - started > ttl - 0.5, "taken over before its end"
    assert set((await second.renew(Capabilities())).fences.values()) == {2}, "the number must grow with the owner"


async def test_a_long_effect_keeps_its_lease_and_its_lease_keeps_it(postgresql: str) -> None:
    """The relay renews while the transaction of the effect is open; nobody takes the shard over before it ends."""
    with fresh_database(postgresql) as address:
        shop = Shop(create_engine(psycopg_url(address), connect_args={"options": "-c lock_timeout=3s"}))
        await shop.database.change(tables.create_tables)
        await shop.database.change(ensure_shards)
        mine, theirs = (Leases(shop.database, shop.clock, 60.0) for _ in range(2))
        held = await mine.renew(Capabilities())
        assert len(held.fences) == tables.SHARDS
        with shop.engine.begin() as effect:
            Fence(held.fences).verify(effect, {3})
            again = await mine.renew(Capabilities())
            assert again.fences == held.fences
            await shop.database.change(lambda connection: connection.execute(update(tables.leases).values(until=0)))
            taken = await theirs.renew(Capabilities())
            assert {0, 1, 2, 4} <= taken.fences.keys()
            assert 3 not in taken.fences
        with shop.engine.begin() as effect, pytest.raises(FencedOut):
            Fence(held.fences).verify(effect, {0})
        shop.engine.dispose()


async def test_relays_on_several_hosts_go_by_the_clock_of_the_database(open_shop: Callable[..., Shop]) -> None:
    """The host of the second relay is ten years ahead: nothing is over for that."""
    now = round(time.time() * 1000)
    one = open_shop(clock=ManualClock(wall_ms=now))
    two = open_shop(clock=ManualClock(wall_ms=now + 10 * 365 * 86_400_000))
    if one.database.dialect == "sqlite":
        two = open_shop(clock=ManualClock(wall_ms=now))  # the users of one file are on one machine
    await one.database.change(ensure_shards)
    first, second = Leases(one.database, one.clock, 60.0), Leases(two.database, two.clock, 60.0)
    held = await first.renew(Capabilities())
    taken = await second.renew(Capabilities())
    assert len(held.fences) == tables.SHARDS
    assert not taken.fences
    until_ms = {row.until for row in await one.rows(tables.leases)} | {
        row.until for row in await one.rows(tables.relays)
    }
    assert all(now < each < now + 120_000 for each in until_ms), "times in the table must be the database's"
