"""The relay: what was committed is handled, in order per key; what was not is not; what fails is kept apart."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from attrs import frozen
from chat_common.clock import ManualClock
from chat_common.errors import Invalid
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.outbox import ENSURED_TOPIC, OutboxEntry, ensured_entry
from chat_common.records import Consumer, Ensured
from chat_transaction.sql import tables
from chat_transaction.sql.dead_letters import SqlDeadLetters

from tests.chat_transaction.conftest import Seen, Shop, entry, until


def numbers(count: int) -> list[bytes]:
    return [str(number).encode() for number in range(count)]


async def test_hands_over_after_commit_and_deletes(shop: Shop) -> None:
    seen = Seen()
    inline = object()
    async with shop.relaying(Consumer("orders", "mail", seen)):
        await shop.write(entry("a", 0, inline=inline), entry("b", 1))
        await seen.count(2)
        await shop.until_empty()
    assert seen.payloads() == [b"0", b"1"]
    assert seen.records[0].inline is inline
    assert len({record.id for record in seen.records}) == 2


async def test_a_rolled_back_intent_never_happens(shop: Shop) -> None:
    seen = Seen()

    def fail(connection: object) -> None:
        shop.outbox.write(connection, [entry("a", "never")])
        raise RuntimeError("no")

    async with shop.relaying(Consumer("orders", "mail", seen)):
        with pytest.raises(RuntimeError, match="no"):
            await shop.database.change(fail)
        await shop.write(entry("a", "once"))
        await seen.count(1)
        await shop.until_empty()
    assert seen.payloads() == [b"once"]


async def test_takes_over_what_an_earlier_process_left(open_shop: Callable[[], Shop]) -> None:
    earlier = open_shop()
    for number in range(30):
        await earlier.write(entry("a", number), report=False)
    seen = Seen()
    later = open_shop()
    async with later.relaying(Consumer("orders", "mail", seen), scan_limit=7):
        await seen.count(30)
        await later.until_empty()
    assert seen.payloads() == numbers(30)


async def test_finds_what_another_process_writes_in_between(open_shop: Callable[[], Shop]) -> None:
    """Reported and unreported rows of one key, mixed at random, stay in the order of their commits."""
    shop, foreign = open_shop(), open_shop()
    chance = random.Random(7)
    seen = Seen()
    async with shop.relaying(Consumer("orders", "mail", seen, batch=3)):
        for number in range(200):
            writer = chance.choice([shop, shop, foreign])
            await writer.write(entry("a", number), report=writer is shop and chance.random() < 0.8)
        await seen.count(200)
        await shop.until_empty()
    assert seen.payloads() == numbers(200)


async def test_reports_out_of_order_stay_in_order(shop: Shop) -> None:
    seen = Seen()
    async with shop.relaying(Consumer("orders", "mail", seen), scan_interval=10):
        await shop.write(entry("a", 0))
        first = await shop.write(entry("a", 1), report=False)
        second = await shop.write(entry("a", 2), report=False)
        shop.outbox.committed(second)
        shop.outbox.committed(first)
        await seen.count(3)
    assert seen.payloads() == numbers(3)


async def test_is_bounded_and_loses_nothing_when_full(shop: Shop) -> None:
    seen = Seen()
    gate = asyncio.Event()

    async def slow(records: Sequence[BrokerRecord]) -> None:
        await gate.wait()
        await seen(records)

    async with shop.relaying(Consumer("orders", "mail", slow), capacity=10, scan_limit=4) as relay:
        for number in range(100):
            await shop.write(entry(f"k{number % 3}", number))
        assert len(relay._in_flight.rows) <= 10
        gate.set()
        await seen.count(100)
        await shop.until_empty()
    for key in ("k0", "k1", "k2"):
        assert seen.payloads(key) == [str(n).encode() for n in range(100) if f"k{n % 3}" == key]


async def test_a_failing_record_is_tried_again_while_others_go_on(shop: Shop) -> None:
    seen = Seen()
    attempts: list[int] = []

    async def handle(records: Sequence[BrokerRecord]) -> None:
        for record in records:
            if record.payload == b"poison":
                attempts.append(record.attempt)
                if record.attempt < 3:
                    raise RuntimeError("not yet")
        await seen(records)

    async with shop.relaying(Consumer("orders", "mail", handle)):
        await shop.write(entry("bad", 0), entry("bad", "poison"), entry("bad", 2), entry("good", 3))
        await seen.count(4)
        await shop.until_empty()
    assert seen.payloads("bad") == [b"0", b"poison", b"2"]
    assert seen.payloads("good") == [b"3"]
    assert set(attempts) == {1, 2, 3}


async def test_buries_with_the_reason_and_goes_on(shop: Shop) -> None:
    seen = Seen()

    async def handle(records: Sequence[BrokerRecord]) -> None:
        if any(record.payload == b"poison" for record in records):
            raise ValueError("cannot print this")
        await seen(records)

    async with shop.relaying(Consumer("orders", "mail", handle, attempts=3)):
        await shop.write(entry("a", 0), entry("a", "poison"), entry("a", 2), entry("b", 3))
        await seen.count(3)
        await shop.until_empty()
    assert seen.payloads("a") == [b"0", b"2"]
    (letter,) = await shop.rows(tables.dead_letters)
    assert (letter.topic, letter.group, letter.key, letter.payload) == ("orders", "mail", "a", b"poison")
    assert letter.attempts == 3
    assert letter.reason.startswith("ValueError: cannot print this (test_relay.py:")


async def test_parks_the_key_until_somebody_releases_it(shop: Shop) -> None:
    mail, audit = Seen(), Seen()
    broken = True

    async def handle(records: Sequence[BrokerRecord]) -> None:
        if broken and any(record.payload == b"1" for record in records):
            raise ValueError("cannot print this")
        await mail(records)

    consumers = Consumer("orders", "mail", handle, attempts=2, on_failure="park"), Consumer("orders", "audit", audit)
    async with shop.relaying(*consumers):
        await shop.write(*(entry("a", number) for number in range(4)), entry("b", 0))
        await audit.count(5)
        await mail.count(2)

        async def parked() -> bool:
            return [row.payload for row in await shop.rows() if row.parked] == [b"1", b"2", b"3"]

        await until(parked)
        await shop.write(entry("a", 4))
        await audit.count(6)
        broken = False
        dead_letters = SqlDeadLetters(shop.database, shop.clock)
        assert await dead_letters.replay([letter.id for letter in await dead_letters.list()]) == 1
        await mail.count(6)
        await shop.until_empty()
    assert mail.payloads("a") == numbers(5)
    assert audit.payloads("a") == numbers(5), "what another group parks is handled once here"


async def test_parked_keys_survive_a_restart(open_shop: Callable[[], Shop]) -> None:
    seen = Seen()

    async def handle(records: Sequence[BrokerRecord]) -> None:
        if any(record.key == "a" for record in records):
            raise ValueError("no")
        await seen(records)

    consumer = Consumer("orders", "mail", handle, attempts=1, on_failure="park")
    shop = open_shop()
    async with shop.relaying(consumer):
        await shop.write(entry("a", 0), entry("b", 1))
        await seen.count(1)
    again = open_shop()
    async with again.relaying(Consumer("orders", "mail", seen, on_failure="park")):
        await again.write(entry("a", 2), entry("b", 3))
        await seen.count(2)
        await until(lambda: _all_parked(again, [b"0", b"2"]))
    assert seen.payloads() == [b"1", b"3"]


async def _all_parked(shop: Shop, payloads: list[bytes]) -> bool:
    return [(row.payload, row.parked) for row in await shop.rows()] == [(payload, 1) for payload in payloads]


async def test_attempts_survive_a_restart(open_shop: Callable[[], Shop]) -> None:
    tried = asyncio.Event()

    async def fail(records: Sequence[BrokerRecord]) -> None:
        tried.set()
        raise RuntimeError("no")

    shop = open_shop()
    async with shop.relaying(Consumer("orders", "mail", fail), retry_first=60, retry_cap=60, drain_timeout=0):
        await shop.write(entry("a", 0))
        await tried.wait()

        async def noted() -> bool:
            return bool((await shop.rows())[0].attempts)

        await until(noted)
    seen = Seen()
    again = open_shop()
    async with again.relaying(Consumer("orders", "mail", seen)):
        await seen.count(1)
    assert seen.records[0].attempt == 2


async def test_delayed_rows_wait(shop: Shop) -> None:
    seen = Seen()
    async with shop.relaying(Consumer("orders", "mail", seen), scan_interval=10):
        started = asyncio.get_running_loop().time()
        await shop.write(entry("a", "late", delay=0.3))
        await shop.write(entry("a", "soon"))
        await seen.count(2)
        assert asyncio.get_running_loop().time() - started >= 0.29
    assert seen.payloads() == [b"soon", b"late"]


async def test_topics_without_consumers_wait_in_the_table(shop: Shop) -> None:
    seen = Seen()
    async with shop.relaying(Consumer("orders", "mail", seen)):
        await shop.write(entry("a", 0, topic="nobody"), entry("a", 1))
        await seen.count(1)
    assert [row.topic for row in await shop.rows()] == ["nobody"]


@frozen
class Mail:
    to: str


async def test_ensured_functions_run_after_commit(shop: Shop) -> None:
    sent: list[tuple[str, str]] = []
    done = asyncio.Event()

    async def send(mail: Mail, key: str) -> None:
        sent.append((mail.to, key))
        if len(sent) == 3:
            done.set()
        if mail.to == "b" and len(sent) < 3:
            raise RuntimeError("the post office is closed")

    ensured = Ensured("mail", 1, Mail, send)
    async with shop.relaying(ensured=[ensured]):
        await shop.write(ensured_entry(ensured, Mail("a")), ensured_entry(ensured, Mail("b"), key="other"))
        async with asyncio.timeout(20):
            await done.wait()
        await shop.until_empty()
    assert sorted(to for to, _ in sent) == ["a", "b", "b"]
    assert len({key for to, key in sent if to == "b"}) == 1, "the idempotency key stays the same"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"name":"mail","version":2,"arguments":{"to":"a"}}', "No function 'mail', version 2, is registered"),
        (b'{"name":"post","version":1,"arguments":{}}', "No function 'post', version 1, is registered"),
        (
            b'{"name":"mail","version":1,"arguments":{"to":5}}',
            "The arguments do not fit 'mail', version 1: Expected `str`",
        ),
        (b"nonsense", "The payload is not a call:"),
    ],
)
async def test_unknown_functions_are_kept_visibly(shop: Shop, payload: bytes, reason: str) -> None:
    async def send(mail: Mail, key: str) -> None:
        raise AssertionError("must not run")

    async with shop.relaying(ensured=[Ensured("mail", 1, Mail, send)]):
        await shop.write(OutboxEntry(ENSURED_TOPIC, "k", payload))
        await shop.until_empty()
    (letter,) = await shop.rows(tables.dead_letters)
    assert reason in letter.reason
    assert letter.attempts == 1


def test_arguments_are_validated_when_enqueued() -> None:
    async def send(mail: Mail, key: str) -> None: ...

    with pytest.raises(Invalid, match="arguments of mail"):
        ensured_entry(Ensured("mail", 1, Mail, send), Mail(to=5))  # type: ignore[arg-type]


async def _arrived(count: int, *seen: Seen) -> bool:
    return len({record.id for each in seen for record in each.records}) >= count


async def test_two_relays_share_the_shards(open_shop: Callable[[], Shop]) -> None:
    one, two = open_shop(), open_shop()
    first, second = Seen(), Seen()
    async with one.relaying(Consumer("orders", "mail", first), lease=1.5):
        async with two.relaying(Consumer("orders", "mail", second), lease=1.5) as relay:

            async def shared() -> bool:
                return len(relay._ownership.fences) == tables.SHARDS // 2

            await until(shared)
            for number in range(100):
                await one.write(entry(f"k{number}", number))
            await until(partial(_arrived, 100, first, second))
        assert first.records
        assert second.records
        for number in range(100):
            await two.write(entry(f"k{number}", number))
        await until(partial(_arrived, 200, first, second))
    assert len({record.id for record in (*first.records, *second.records)}) == 200


async def test_a_fenced_out_relay_runs_nothing(open_shop: Callable[..., Shop]) -> None:
    clock = ManualClock()
    shop = open_shop(clock=clock)
    seen = Seen()
    async with shop.relaying(Consumer("orders", "mail", seen), scan_interval=60) as relay:
        await shop.write(entry("a", 0))
        await seen.count(1)
        clock.advance(relay._settings.lease + 1)  # as if the process had been stopped for longer than its lease
        await shop.write(entry("a", 1))

        async def fenced_out() -> bool:
            return not relay._ownership.fences

        await until(fenced_out)
        assert seen.payloads() == [b"0"]
        await relay._membership.renew()
        await seen.count(2)
    assert seen.payloads() == [b"0", b"1"]


async def test_refuses_two_consumers_under_one_name(shop: Shop) -> None:
    with pytest.raises(ValueError, match="share the group 'mail'"):
        async with shop.relaying(Consumer("orders", "mail", Seen()), Consumer("orders", "mail", Seen())):
            pass
