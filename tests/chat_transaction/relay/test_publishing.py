"""Publishing: what a broker does not want, or cannot take now, delays only itself."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal

import pytest
from chat_common.clock import ManualClock
from chat_common.ports.broker import BrokerRecord, Handler, RecordsRefused, Refusal
from chat_common.records import Consumer
from chat_transaction.brokers.memory import MemoryBroker
from chat_transaction.headers import ROW
from chat_transaction.relay import publishing
from chat_transaction.relay.publishing import Publishing
from chat_transaction.relay.relay import SqlRelay
from chat_transaction.settings import RelaySettings
from chat_transaction.sql import tables
from chat_transaction.sql.dead_letters import SqlDeadLetters
from chat_transaction.sql.outbox import OutboxRow

from tests.chat_transaction.conftest import Seen, Shop, entry, until


class Between:
    """A broker of another process: an in-process one that `SqlRelay` does not know for its own, with moods."""

    def __init__(self, mood: Callable[[BrokerRecord], Exception | str | None] = lambda record: None) -> None:
        self.inner = MemoryBroker()
        self.mood = mood
        self.calls = 0

    async def publish(self, records: Sequence[BrokerRecord], *, delay: float = 0.0) -> None:
        self.calls += 1
        refused: list[Refusal] = []
        for record in records:
            mood = self.mood(record)
            if isinstance(mood, Exception):
                raise mood
            if mood is not None:
                fault: Literal["record", "topic"] = "topic" if mood.startswith("no topic") else "record"
                refused.append(Refusal(record, mood, fault))
        names = {each.record.id for each in refused}
        await self.inner.publish([record for record in records if record.id not in names], delay=delay)
        if refused:
            raise RecordsRefused(refused)

    def subscribe(
        self, topic: str, group: str, handler: Handler, *, batch: int = 100
    ) -> AbstractAsyncContextManager[None]:
        return self.inner.subscribe(topic, group, handler, batch=batch)


@asynccontextmanager
async def relaying(shop: Shop, broker: Between, *consumers: Consumer) -> AsyncIterator[SqlRelay]:
    settings = RelaySettings(scan_interval=0.05, purge_interval=0.01, retry_first=0.01, retry_cap=0.05)
    relay = SqlRelay(shop.outbox, broker, shop.database, shop.clock, settings)  # type: ignore[arg-type]
    async with broker.inner.opened(), relay.running(consumers, []):
        yield relay


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_FIRST", 0.001)
    monkeypatch.setattr(publishing, "_CAP", 0.01)


def numbers(*span: int) -> list[bytes]:
    return [str(number).encode() for number in range(*span)]


@pytest.mark.parametrize("manner", ["refused", "raised"])
async def test_one_record_that_the_broker_never_takes_is_buried_and_its_neighbours_go(shop: Shop, manner: str) -> None:
    def mood(record: BrokerRecord) -> Exception | str | None:
        if record.payload != b"poison":
            return None
        return "too large: 5 MB" if manner == "refused" else RuntimeError("too large: 5 MB")

    seen = Seen()
    async with relaying(shop, Between(mood), Consumer("orders", "mail", seen)):
        await shop.write(entry("a", 0), entry("a", "poison"), *(entry(f"k{n % 3}", n) for n in range(1, 40)))
        await shop.write(entry("a", 99))
        for number in range(40, 80):  # what passes meanwhile shows that the broker is not down
            await shop.write(entry(f"k{number % 3}", number))
            await seen.count(number - 5)
        await seen.count(81)
        await shop.until_empty()
        assert seen.payloads("a") == [b"0", b"99"]
        for key in range(3):
            assert seen.payloads(f"k{key}") == [each for each in numbers(1, 80) if int(each) % 3 == key]
        (letter,) = await shop.rows(tables.dead_letters)
        assert (letter.payload, letter.group) == (b"poison", "mail")
        assert "too large: 5 MB" in letter.reason


async def test_a_refused_record_parks_its_key_where_the_topic_parks(shop: Shop) -> None:
    bad = {b"1"}

    def mood(record: BrokerRecord) -> str | None:
        return "too large" if record.payload in bad else None

    dead_letters = SqlDeadLetters(shop.database, shop.clock)
    seen = Seen()
    consumer = Consumer("orders", "mail", seen, on_failure="park")
    async with relaying(shop, Between(mood), consumer) as relay:
        await shop.write(*(entry("a", number) for number in range(3)), entry("b", 9))

        async def parked() -> bool:
            return (await dead_letters.status()).parked == 2 and not relay._in_flight.rows

        await until(parked)
        (letter,) = await dead_letters.list()
        assert (letter.payload, letter.reason) == (b"1", "too large")
        bad.clear()
        assert await dead_letters.replay([letter.id]) == 1
        await seen.count(4)
        await shop.until_empty()
    assert seen.payloads("a") == numbers(3)


async def test_a_topic_whose_publishing_fails_holds_up_no_other(shop: Shop) -> None:
    down = True

    def mood(record: BrokerRecord) -> Exception | None:
        return ConnectionError("no route") if down and record.topic == "lost" else None

    seen, late = Seen(), Seen()
    async with relaying(shop, Between(mood), Consumer("orders", "mail", seen), Consumer("lost", "mail", late)):
        await shop.write(*(entry("a", number, topic="lost") for number in range(30)))
        await shop.write(*(entry("a", number) for number in range(30)))
        await seen.count(30)
        assert not late.records
        down = False
        await late.count(30)
        await shop.until_empty()
    assert late.payloads() == numbers(30)
    assert not await shop.rows(tables.dead_letters)


async def test_a_topic_that_is_not_there_yet_waits_and_buries_nothing(shop: Shop) -> None:
    missing = True

    def mood(record: BrokerRecord) -> str | None:
        return "no topic orders" if missing and record.topic == "orders" else None

    broker, seen, other = Between(mood), Seen(), Seen()
    async with relaying(shop, broker, Consumer("orders", "mail", seen), Consumer("paper", "mail", other)):
        await shop.write(*(entry(f"k{number % 4}", number) for number in range(40)))
        await shop.write(*(entry(f"k{number % 4}", number, topic="paper") for number in range(40)))
        await other.count(40)

        async def tried() -> bool:
            return broker.calls > 12

        await until(tried)
        missing = False
        await seen.count(40)
        await shop.until_empty()
    for key in range(4):
        assert seen.payloads(f"k{key}") == [each for each in numbers(40) if int(each) % 4 == key]
    assert not await shop.rows(tables.dead_letters)


async def test_a_broker_that_is_down_buries_nothing(shop: Shop) -> None:
    """However often its attempts fail: no other record shows that this one is to blame."""
    down = True

    def mood(record: BrokerRecord) -> Exception | None:
        return ConnectionError("no route") if down else None

    broker, seen = Between(mood), Seen()
    async with relaying(shop, broker, Consumer("orders", "mail", seen)):
        await shop.write(*(entry(f"k{number % 4}", number) for number in range(40)))

        async def tried() -> bool:
            return broker.calls > 60

        await until(tried)
        down = False
        await seen.count(40)
        await shop.until_empty()
    for key in range(4):
        assert seen.payloads(f"k{key}") == [each for each in numbers(40) if int(each) % 4 == key]
    assert not await shop.rows(tables.dead_letters)


async def test_a_group_in_another_process_is_waited_for_behind_a_broker(open_shop: Callable[..., Shop]) -> None:
    """One process runs `mail`, another `audit`; rows are gone when both have handled them, whoever publishes them."""
    one, other, broker = open_shop(), open_shop(), Between()
    mail, audit, gate = Seen(), Seen(), asyncio.Event()

    async def slow(records: Sequence[BrokerRecord]) -> None:
        await gate.wait()
        await audit(records)

    async with relaying(one, broker, Consumer("orders", "mail", mail)) as relay:
        settings = RelaySettings(scan_interval=0.05, purge_interval=0.01)
        second = SqlRelay(other.outbox, broker, other.database, other.clock, settings)  # type: ignore[arg-type]
        async with second.running([Consumer("orders", "audit", slow)], []):
            await relay._membership.renew()
            await one.write(*(entry(f"k{number % 4}", number) for number in range(20)))
            await mail.count(20)

            async def noted() -> bool:
                return len(await one.rows(tables.state)) == 20

            await until(noted)
            assert len(await one.rows()) == 20, "`audit` has not handled them"
            gate.set()
            await audit.count(20)
            await one.until_empty()
        await relay._membership.renew()
        # Now nobody runs `audit`: what it is owed is kept, and comes in order when it is back.
        await one.write(*(entry(f"k{number % 4}", number) for number in range(20, 40)))
        await mail.count(40)

        async def kept() -> bool:
            return [row.parked for row in await one.rows()] == [1] * 20 and not relay._in_flight.rows

        await until(kept)
        third = SqlRelay(other.outbox, broker, other.database, other.clock, settings)  # type: ignore[arg-type]
        async with third.running([Consumer("orders", "audit", audit)], []):
            await relay._membership.renew()
            await one.write(*(entry(f"k{number % 4}", number) for number in range(40, 60)))
            await audit.count(60)
            await one.until_empty()
    for key in range(4):
        wanted = [each for each in numbers(60) if int(each) % 4 == key]
        assert list(dict.fromkeys(audit.payloads(f"k{key}"))) == wanted
        assert list(dict.fromkeys(mail.payloads(f"k{key}"))) == wanted


class Lanes:
    """A broker that takes all and gives nothing; ``taken`` are the numbers of what it was given since the last look."""

    def __init__(self, tokens: Sequence[OutboxRow]) -> None:
        self.clock = ManualClock()
        self.tokens = tokens
        self.taken: list[int] = []
        self._broker = Between(self._take)
        self.publishing = Publishing(self._broker, self.clock, lambda token: True, self._refused)  # type: ignore[arg-type]

    def _take(self, record: BrokerRecord) -> None:
        self.taken.append(int(record.headers[ROW]))

    async def _refused(self, token: OutboxRow, reason: str) -> None:
        raise AssertionError(reason)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Lanes]:
        async with self._broker.inner.opened(), self.publishing.opened():
            yield self

    async def after(self, seconds: float, *, without: int = 0) -> list[int]:
        """What is published again when so much time has passed, and those up to ``without`` are done."""
        self.clock.advance(seconds)
        self.publishing.republish([token for token in self.tokens if token.id > without], 10.0)
        while any(token.published is None for token in self.tokens):  # noqa: ASYNC110
            await asyncio.sleep(0)
        taken, self.taken = self.taken, []
        return taken


def token(number: int, key: str) -> OutboxRow:
    return OutboxRow(number, 0, 0, BrokerRecord("orders", key, b"", f"id{number}"))


async def test_what_only_waits_for_its_consumers_is_copied_ever_more_rarely() -> None:
    """Whoever is slow gets no second flood."""
    async with Lanes([token(number, f"k{number}") for number in range(1, 11)]).opened() as lanes:
        lanes.publishing.put(lanes.tokens)
        await lanes.after(0)
        times = [second for second in range(1, 700) if await lanes.after(1.0)]
    gaps = [later - earlier for earlier, later in itertools.pairwise([0, *times])]
    assert gaps == [11, 21, 41, 81, 161, 161, 161]


async def test_a_key_is_published_again_whole_and_in_order() -> None:
    """What came behind the lost one had to wait for it, and may have been let go."""
    async with Lanes([token(number, "k") for number in range(1, 6)]).opened() as lanes:
        lanes.publishing.put(lanes.tokens[:2])
        await asyncio.sleep(0)
        lanes.clock.advance(9.0)
        lanes.publishing.put(lanes.tokens[2:])
        await lanes.after(0)
        assert await lanes.after(0.9) == []
        assert await lanes.after(0.2) == [1, 2, 3, 4, 5]


async def test_a_key_that_moves_on_is_not_published_again() -> None:
    async with Lanes([token(number, "k") for number in range(1, 6)]).opened() as lanes:
        lanes.publishing.put(lanes.tokens)
        await lanes.after(0)
        for number in range(1, 5):
            assert await lanes.after(9.0, without=number - 1) == []
            lanes.publishing.passed(lanes.tokens[number - 1])
        assert await lanes.after(9.9, without=4) == []
        assert await lanes.after(0.2, without=4) == [5]
