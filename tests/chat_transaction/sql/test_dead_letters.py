"""What was given up can be looked at, tried again and dropped."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from chat_common.errors import Invalid, NotFound
from chat_common.ports.broker import BrokerRecord
from chat_common.records import Consumer, Ensured
from chat_transaction.consumers.ensured import EnsuredCalls
from chat_transaction.sql.dead_letters import SqlDeadLetters

from tests.chat_transaction.conftest import Seen, Shop, entry, until


class Printer:
    """A consumer that cannot print some payloads until it is mended."""

    def __init__(self, *bad: bytes) -> None:
        self.bad = set(bad)
        self.seen = Seen()

    async def __call__(self, records: Sequence[BrokerRecord]) -> None:
        if any(record.payload in self.bad for record in records):
            raise ValueError("out of ink")
        await self.seen(records)


async def test_a_buried_record_is_replayed_for_its_group_alone(shop: Shop) -> None:
    dead_letters = SqlDeadLetters(shop.database, shop.clock)
    printer, audit = Printer(b"1"), Seen()
    async with shop.relaying(
        Consumer("orders", "print", printer, attempts=2), Consumer("orders", "audit", audit, attempts=2)
    ):
        await shop.write(*(entry("a", number) for number in range(3)))
        await shop.until_empty()
        (letter,) = await dead_letters.list()
        assert (letter.state, letter.topic, letter.group, letter.key) == ("buried", "orders", "print", "a")
        assert (letter.attempts, letter.payload) == (2, b"1")
        assert letter.reason.startswith("ValueError: out of ink")
        assert await dead_letters.show(letter.id) == letter
        printer.bad.clear()
        assert await dead_letters.replay([letter.id, "b999"]) == 1
        await printer.seen.count(3)
        await shop.until_empty()
    assert printer.seen.payloads() == [b"0", b"2", b"1"]
    assert audit.payloads() == [b"0", b"1", b"2"]
    assert printer.seen.records[-1].id == audit.records[1].id, "its idempotency key is the old one"
    assert await dead_letters.list() == []


async def test_a_parked_key_is_released_in_order(shop: Shop) -> None:
    dead_letters = SqlDeadLetters(shop.database, shop.clock)
    printer = Printer(b"1")
    async with shop.relaying(Consumer("orders", "print", printer, attempts=2, on_failure="park")):
        await shop.write(*(entry("a", number) for number in range(4)), entry("b", 9))
        await printer.seen.count(2)
        await until(lambda: _parked(dead_letters, 3))
        (letter,) = await dead_letters.list()
        assert (letter.state, letter.payload, letter.attempts) == ("parked", b"1", 2)
        await shop.write(entry("a", 4))
        await until(lambda: _parked(dead_letters, 4))
        printer.bad.clear()
        assert await dead_letters.replay([letter.id]) == 1
        await printer.seen.count(6)
        await shop.until_empty()
    assert printer.seen.payloads("a") == [b"0", b"1", b"2", b"3", b"4"]


async def test_dropping_a_parked_record_lets_its_key_go_on(shop: Shop) -> None:
    dead_letters = SqlDeadLetters(shop.database, shop.clock)
    printer = Printer(b"1")
    async with shop.relaying(Consumer("orders", "print", printer, attempts=2, on_failure="park")):
        await shop.write(*(entry("a", number) for number in range(4)))
        await until(lambda: _parked(dead_letters, 3))
        (letter,) = await dead_letters.list()
        assert await dead_letters.drop([letter.id]) == 1
        await printer.seen.count(3)
        await shop.until_empty()
    assert printer.seen.payloads("a") == [b"0", b"2", b"3"]


async def _parked(dead_letters: SqlDeadLetters, count: int) -> bool:
    return (await dead_letters.status()).parked == count


async def test_pages_and_status(shop: Shop) -> None:
    dead_letters = SqlDeadLetters(shop.database, shop.clock)

    async def refuse(records: Sequence[BrokerRecord]) -> None:
        raise ValueError("no")

    async with shop.relaying(Consumer("orders", "print", refuse, attempts=1)):
        await shop.write(*(entry(f"k{number}", number) for number in range(5)), entry("a", topic="other"))

        async def buried() -> bool:
            return (await dead_letters.status()).buried == 5

        await until(buried)
    status = await dead_letters.status()
    assert status.depth == {"other": 1}
    assert status.oldest is not None
    assert status.oldest < 60
    first = await dead_letters.list(limit=2)
    second = await dead_letters.list(limit=10, after=first[-1].id)
    assert len({letter.id for letter in (*first, *second)}) == 5
    assert await dead_letters.list(topic="other") == []
    assert await dead_letters.drop([letter.id for letter in first]) == 2
    with pytest.raises(NotFound):
        await dead_letters.show(first[0].id)
    for wrong in ("", "x1", "b", "b-1", "p1", "p1:", "b1:print", "b" + "9" * 30):
        with pytest.raises(Invalid):
            await dead_letters.show(wrong)
    with pytest.raises(Invalid, match="limit"):
        await dead_letters.list(limit=0)


def test_two_ensured_functions_of_one_name_and_version_are_refused() -> None:
    async def call(arguments: object, key: str) -> None: ...

    one, other = (Ensured("mail", 1, object, call) for _ in range(2))
    EnsuredCalls([one, one])
    with pytest.raises(ValueError, match="'mail', version 1"):
        EnsuredCalls([one, other])
