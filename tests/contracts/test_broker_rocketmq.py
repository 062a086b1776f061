"""The broker on RocketMQ 5 keeps the broker's contract, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from chat_common.contracts.broker import SHARED_CHECKS, Seen, Stage, numbers, once, record
from chat_common.errors import Unavailable
from chat_common.ports.broker import Broker, BrokerRecord, RecordsRefused
from chat_transaction.brokers.rocketmq import RocketBroker
from chat_transaction.settings import RocketBrokerSettings

from tests.services.rocketmq import RocketMQ, running_rocketmq

NAMES = [f"contract{number}" for number in range(3 * len(SHARED_CHECKS) + 10)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RocketMQ]:
    settings = RocketBrokerSettings(queues=4)
    with running_rocketmq(tmp_path_factory.mktemp("rocketmq")) as server:
        # Calls of the admin tool cost seconds, so all is made at once.
        server.create(RocketBroker.topics(NAMES, settings), RocketBroker.groups(NAMES, settings))
        yield server


class RocketStage:
    patience = 90.0
    shared = True
    largest = 200_000

    def __init__(self, server: RocketMQ, names: Iterator[str]) -> None:
        self._server = server
        self._names = names

    def topic(self) -> str:
        return next(self._names)

    delay_topic = topic
    group = topic

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Broker]:
        settings = RocketBrokerSettings(
            endpoints=self._server.endpoint, retry_first=0.01, message_bytes=self.largest, leave_timeout=1.0
        )
        async with RocketBroker(settings).opened() as broker:
            await broker.ready()
            yield broker

    def small_client(self) -> Any:
        raise NotImplementedError("RocketMQ has no such bound")


@pytest.fixture(scope="module")
def names() -> Iterator[Any]:
    return iter(NAMES)


@pytest.mark.parametrize("check", SHARED_CHECKS, ids=lambda check: check.__name__)
async def test_keeps_the_contract(
    check: Callable[[Stage], Awaitable[None]], server: RocketMQ, names: Iterator[str]
) -> None:
    await check(RocketStage(server, names))


async def test_splits_what_is_merged_by_bytes(server: RocketMQ, names: Iterator[str]) -> None:
    """40 records of one key at once, 10 MB together: above what the broker takes in one message."""
    topic, seen = next(names), Seen(90.0)
    settings = RocketBrokerSettings(endpoints=server.endpoint)
    async with RocketBroker(settings).opened() as broker, broker.subscribe(topic, next(names), seen.add):
        sent = [BrokerRecord(topic, "a", str(number).encode().ljust(250_000), f"{number}") for number in range(40)]
        await broker.publish(sent)
        await seen.payloads(40)
    assert [payload.strip() for payload in once(seen.of("a"))] == numbers(40)


async def test_a_record_that_the_broker_refuses_stops_no_other(server: RocketMQ, names: Iterator[str]) -> None:
    """Our own limit is set above the broker's: the broker says no, to a merged message at first."""
    topic, seen = next(names), Seen(90.0)
    settings = RocketBrokerSettings(endpoints=server.endpoint, message_bytes=32_000_000)
    large = BrokerRecord(topic, "a", b"x" * 5_000_000, "large")
    async with RocketBroker(settings).opened() as broker, broker.subscribe(topic, next(names), seen.add):
        sent = [record(topic, "a", 0), record(topic, "a", 1), large, record(topic, "a", 2), record(topic, "b", 0)]
        with pytest.raises(RecordsRefused) as caught:
            await broker.publish(sent)
        await seen.payloads(4)
    assert [(each.record.id, each.fault) for each in caught.value.refusals] == [("large", "record")]
    assert once(seen.of("a")) == numbers(3)


async def test_a_missing_or_wrong_topic_is_named_and_stops_no_other(server: RocketMQ, names: Iterator[str]) -> None:
    topic, seen = next(names), Seen(90.0)
    server.create([{"topicName": "chat-plain", "readQueueNums": 4, "writeQueueNums": 4, "perm": 6}])
    bad = [record(wrong, "a", 0) for wrong in ("missing", "plain", "no such name!")]
    settings = RocketBrokerSettings(endpoints=server.endpoint)
    async with RocketBroker(settings).opened() as broker, broker.subscribe(topic, next(names), seen.add):
        for _ in range(2):
            with pytest.raises(RecordsRefused) as caught:
                await broker.publish([bad[0], record(topic, "a", 0), *bad[1:]])
            refusals = {each.record.topic: each for each in caught.value.refusals}
            assert refusals.keys() == {each.topic for each in bad}
            assert {each.fault for each in refusals.values()} == {"topic"}
        assert "no topic 'chat-missing'" in refusals["missing"].reason
        assert "FIFO" in refusals["plain"].reason
        await seen.payloads(2)


async def test_a_broker_that_is_away_refuses_nothing(server: RocketMQ, names: Iterator[str]) -> None:
    """Also of a topic that it was never asked about."""
    first, second = next(names), next(names)
    async with RocketBroker(RocketBrokerSettings(endpoints=server.endpoint, send_patience=0.5)).opened() as broker:
        await broker.publish([record(first, "a", 0)])
        server.kill_broker()
        try:
            for topic in (first, second):
                with pytest.raises(Unavailable):
                    await broker.publish([record(topic, "a", 0)])
        finally:
            server.start_broker()


async def test_who_was_reading_goes_on_with_a_broker_that_was_restarted(server: RocketMQ, names: Iterator[str]) -> None:
    topic, seen = next(names), Seen(60.0)
    settings = RocketBrokerSettings(endpoints=server.endpoint)
    async with RocketBroker(settings).opened() as broker, broker.subscribe(topic, next(names), seen.add):
        for number in range(4):
            async with asyncio.timeout(30):
                while True:
                    try:
                        await broker.publish([record(topic, "a", number)])
                        break
                    except Unavailable:  # its connections are still on their way back
                        await asyncio.sleep(0.1)
            await seen.payloads(number + 1)
            if number < 3:
                server.kill_broker()
                server.start_broker()
    assert once(seen.of("a")) == numbers(4)


async def test_a_broker_that_is_away_can_be_left(server: RocketMQ, names: Iterator[str]) -> None:
    """Its answer to the acknowledgement is waited for no longer."""
    topic = next(names)
    handled = asyncio.Event()

    async def handle(records: Sequence[BrokerRecord]) -> None:
        await asyncio.to_thread(server.kill_broker)
        handled.set()

    broker = RocketBroker(RocketBrokerSettings(endpoints=server.endpoint))
    try:
        async with asyncio.timeout(120), broker.opened(), broker.subscribe(topic, next(names), handle):
            await broker.publish([record(topic, "a", 0)])
            await handled.wait()
            await asyncio.sleep(0)
    finally:
        server.start_broker()
