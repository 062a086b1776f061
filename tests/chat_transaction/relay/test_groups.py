"""Several groups on one outbox: each stands on its own, whoever runs it, and nothing is lost for any of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import define, field
from chat_common.clock import ManualClock, SystemClock
from chat_common.ports.broker import BrokerRecord
from chat_common.records import Consumer, Ensured
from chat_transaction.relay.relay import SqlRelay
from chat_transaction.sql import tables
from chat_transaction.sql.dead_letters import SqlDeadLetters

from tests.chat_transaction.conftest import Seen, Shop, entry, until


def numbers(*span: int) -> list[bytes]:
    return [str(number).encode() for number in range(*span)]


@define
class Flaw:
    """A consumer that cannot take some payloads."""

    bad: set[bytes]
    seen: Seen = field(factory=Seen)

    async def __call__(self, records: Sequence[BrokerRecord]) -> None:
        if any(record.payload in self.bad for record in records):
            raise ValueError("out of ink")
        await self.seen(records)


async def test_a_key_parked_by_one_group_reaches_the_other_even_after_a_crash(open_shop: Callable[..., Shop]) -> None:
    """The other group is slow, and its process dies before it has handled what the first one has parked."""
    shop = open_shop()
    dead_letters = SqlDeadLetters(shop.database, shop.clock)
    printer, gate = Flaw({b"1"}), asyncio.Event()

    async def hang(records: Sequence[BrokerRecord]) -> None:
        await gate.wait()
        raise RuntimeError("killed")

    stuck = Consumer("orders", "print", printer, attempts=1, on_failure="park"), Consumer("orders", "audit", hang)
    async with shop.relaying(*stuck, drain_timeout=0, lease=0.5, retry_first=60, retry_cap=60):
        await shop.write(*(entry("a", number) for number in range(4)))

        async def parked() -> bool:
            return [letter.id.rpartition(":")[2] for letter in await dead_letters.list()] == ["print"]

        await until(parked)
        gate.set()
    again = open_shop()
    audit = Seen()
    mended = Consumer("orders", "print", printer, attempts=1, on_failure="park"), Consumer("orders", "audit", audit)
    async with again.relaying(*mended):
        await audit.count(4)
        await until(parked)

        async def all_wait() -> bool:
            return [row.payload for row in await again.rows() if row.parked] == numbers(1, 4)

        await until(all_wait)
        printer.bad.clear()
        (letter,) = await dead_letters.list()
        assert letter.id.endswith(":print")
        assert await dead_letters.replay([letter.id]) == 1
        await printer.seen.count(4)
        await again.until_empty()
    assert audit.payloads() == numbers(4)
    assert printer.seen.payloads() == numbers(4)
    assert not await again.rows(tables.state)


async def test_both_groups_park_and_are_released_apart(shop: Shop) -> None:
    dead_letters = SqlDeadLetters(shop.database, shop.clock)
    one, other = Flaw({b"1"}), Flaw({b"2"})
    consumers = (
        Consumer("orders", "print", one, attempts=1, on_failure="park"),
        Consumer("orders", "mail", other, attempts=1, on_failure="park"),
    )
    async with shop.relaying(*consumers):
        await shop.write(*(entry("a", number) for number in range(4)))

        async def parked() -> bool:
            return len(await dead_letters.list()) == 2

        await until(parked)
        found = {letter.group: letter for letter in await dead_letters.list()}
        assert (found["print"].payload, found["mail"].payload) == (b"1", b"2")
        assert found["mail"] == await dead_letters.show(found["mail"].id)
        assert await dead_letters.drop([found["print"].id]) == 1
        await one.seen.count(3)
        other.bad.clear()
        assert await dead_letters.replay([found["mail"].id]) == 1
        await other.seen.count(4)
        await shop.until_empty()
    assert one.seen.payloads() == [b"0", b"2", b"3"], "the dropped one is dropped for its group alone"
    assert other.seen.payloads() == numbers(4)


async def _count(shop: Shop, table: Any) -> int:
    return len(await shop.rows(table))


async def test_a_process_with_fewer_consumers_loses_nothing_for_the_others(open_shop: Callable[..., Shop]) -> None:
    """An old release runs `mail`; a new one `mail` and `audit`. While both live, and after."""
    old, new = open_shop(), open_shop()
    mail, more, audit = Seen(), Seen(), Seen()
    both = Consumer("orders", "mail", more), Consumer("orders", "audit", audit)
    async with old.relaying(Consumer("orders", "mail", mail), lease=1.5):
        await old.write(*(entry(f"k{number % 5}", number) for number in range(20)))
        await old.until_empty()
        async with new.relaying(*both, lease=1.5) as relay:
            for number in range(20, 60):
                await old.write(entry(f"k{number % 5}", number))
            await audit.count(40)

            async def has_all() -> bool:
                return len(relay._ownership.fences) == tables.SHARDS

            await until(has_all)
            for number in range(60, 100):
                await new.write(entry(f"k{number % 5}", number))
            await audit.count(80)
            await new.until_empty()
        # The new one is gone: the old one goes on, and what `audit` is owed waits for it.
        await old.write(*(entry(f"k{number % 5}", number) for number in range(100, 120)))

        async def waiting() -> bool:
            return [row.parked for row in await old.rows()] == [1] * 20

        await until(waiting)
        status = await SqlDeadLetters(old.database, old.clock).status()
        assert [(it.group, it.running, it.waiting) for it in status.groups if it.topic == "orders"] == [
            ("audit", False, 20),
            ("mail", True, 0),
        ]
        async with new.relaying(*both, lease=1.5):
            await audit.count(100)
            await new.until_empty()
    assert {record.payload for record in (*mail.records, *more.records)} == set(numbers(120))
    for key in range(5):
        assert audit.payloads(f"k{key}") == [each for each in numbers(20, 120) if int(each) % 5 == key]
    assert await _count(old, tables.state) == 0


async def test_an_ensured_function_that_only_the_new_release_knows_runs_there(open_shop: Callable[..., Shop]) -> None:
    from chat_common.ports.outbox import ensured_entry

    old, new = open_shop(), open_shop()
    called: list[str] = []
    some = asyncio.Event()

    async def call(arguments: dict[str, Any], key: str) -> None:
        called.append(key)
        some.set()

    function = Ensured("greet", 2, dict[str, Any], call)
    async with old.relaying(lease=1.5) as relay, new.relaying(ensured=[function], lease=1.5):

        async def stepped_back() -> bool:
            return not relay._ownership.fences

        await until(stepped_back)
        for number in range(50):
            await new.write(ensured_entry(function, {}, key=f"k{number}"))
        await new.until_empty()
    assert len(called) == 50
    assert await _count(new, tables.dead_letters) == 0


async def test_a_group_that_nobody_runs_any_more_is_forgotten(open_shop: Callable[..., Shop]) -> None:
    clock = ManualClock()
    shop = open_shop(clock=clock)
    mail, audit = Seen(), Seen()
    async with shop.relaying(Consumer("orders", "mail", mail), Consumer("orders", "audit", audit)):
        await shop.write(entry("a", 0))
        await audit.count(1)
        await shop.until_empty()
    async with shop.relaying(Consumer("orders", "mail", mail), group_patience=3600.0) as relay:
        await shop.write(entry("a", 1), entry("b", 2))
        await mail.count(3)

        async def waiting() -> bool:
            return [row.parked for row in await shop.rows()] == [1, 1]

        await until(waiting)
        clock.advance(3601)
        await relay._membership.renew()
        await shop.until_empty()
        assert await _count(shop, tables.state) == 0
        await shop.write(entry("a", 3))
        await mail.count(4)
        await shop.until_empty()
    assert audit.payloads() == [b"0"]


async def test_an_operator_forgets_a_group(shop: Shop) -> None:
    dead_letters = SqlDeadLetters(shop.database, shop.clock)
    mail, audit = Seen(), Seen()
    async with shop.relaying(Consumer("orders", "mail", mail), Consumer("orders", "audit", audit)):
        pass
    async with shop.relaying(Consumer("orders", "mail", mail)):
        await shop.write(entry("a", 1))
        await mail.count(1)

        async def waiting() -> bool:
            return [row.parked for row in await shop.rows()] == [1]

        await until(waiting)
        assert await dead_letters.forget("orders", "audit")
        assert not await dead_letters.forget("orders", "audit")
        await shop.until_empty()


async def test_attempts_are_counted_by_group(open_shop: Callable[..., Shop]) -> None:
    """One group's failures do not bury a record for the other after a restart."""
    shop = open_shop()
    failed = asyncio.Event()

    async def fail(records: Sequence[BrokerRecord]) -> None:
        failed.set()
        raise RuntimeError("no")

    slow = asyncio.Event()

    async def wait(records: Sequence[BrokerRecord]) -> None:
        await slow.wait()
        raise RuntimeError("killed")

    consumers = Consumer("orders", "bad", fail, attempts=3), Consumer("orders", "slow", wait, attempts=3)
    async with shop.relaying(*consumers, retry_first=60, retry_cap=60, drain_timeout=0):
        await shop.write(entry("a", 0))
        await failed.wait()

        async def noted() -> bool:
            return [(row.group, row.attempts) for row in await shop.rows(tables.state)] == [("bad", 1)]

        await until(noted)
        slow.set()
    again = open_shop()
    seen, bad = Seen(), Seen()
    async with again.relaying(Consumer("orders", "bad", bad), Consumer("orders", "slow", seen)):
        await seen.count(1)
        await bad.count(1)
        await again.until_empty()
    assert seen.records[0].attempt <= 2


@pytest.mark.parametrize("failing", ["one topic", "one key"])
async def test_a_topic_that_fails_as_a_whole_leaves_room_for_the_others(shop: Shop, failing: str) -> None:
    seen = Seen()

    async def fail(records: Sequence[BrokerRecord]) -> None:
        raise RuntimeError("no")

    consumers = Consumer("broken", "g", fail, attempts=100), Consumer("orders", "mail", seen)
    async with shop.relaying(
        *consumers, capacity=20, scan_limit=8, retry_first=60, retry_cap=60, drain_timeout=0
    ) as relay:
        for number in range(60):
            key = f"k{number}" if failing == "one topic" else "k"
            await shop.write(entry(key, number, topic="broken"))
        for number in range(200):
            await shop.write(entry(f"k{number % 3}", number), report=number % 2 == 0)
        await seen.count(200)
        assert relay._in_flight.counts["broken"] <= 20
    for key in range(3):
        assert seen.payloads(f"k{key}") == [each for each in numbers(200) if int(each) % 3 == key]
    assert len(await shop.rows()) == 60


async def test_what_a_full_topic_left_in_the_table_comes_in_order(shop: Shop) -> None:
    seen, gate, broken = Seen(), asyncio.Event(), True

    async def handle(records: Sequence[BrokerRecord]) -> None:
        await gate.wait()
        if broken:
            raise RuntimeError("no")
        await seen(records)

    consumer = Consumer("orders", "mail", handle, attempts=1_000)
    async with shop.relaying(consumer, capacity=10, scan_limit=4):
        for number in range(50):
            await shop.write(entry(f"k{number % 4}", number))
        gate.set()
        for number in range(50, 100):
            await shop.write(entry(f"k{number % 4}", number))
        broken = False
        for number in range(100, 150):
            await shop.write(entry(f"k{number % 4}", number), report=number % 3 > 0)
        await seen.count(150)
        await shop.until_empty()
    for key in range(4):
        assert seen.payloads(f"k{key}") == [each for each in numbers(150) if int(each) % 4 == key]


async def test_many_delayed_rows_share_one_timer(shop: Shop) -> None:
    seen = Seen()
    async with shop.relaying(Consumer("orders", "mail", seen)) as relay:
        await shop.write(*(entry(f"k{number}", number, delay=3600 + number % 7) for number in range(100)))
        for number in range(100):
            await shop.write(entry(f"k{number}", number, delay=1800 + number))
        await shop.write(entry("a", "now"))
        await seen.count(1)
        timers = [it for it in asyncio.get_running_loop()._scheduled if "Alarm._come" in repr(it)]  # type: ignore[attr-defined]
        assert len([it for it in timers if not it.cancelled()]) == 1
        assert isinstance(relay, SqlRelay)
        assert isinstance(shop.clock, SystemClock)
