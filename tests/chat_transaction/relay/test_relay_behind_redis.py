"""The relay with a broker between: a row is done when it is handled, wherever that is; a broker may lose everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from chat_common.ports.broker import BrokerRecord
from chat_common.records import Consumer
from chat_transaction.redis.broker import RedisBroker
from chat_transaction.relay.relay import SqlRelay
from chat_transaction.settings import RedisBrokerSettings, RelaySettings
from chat_transaction.sql import tables
from chat_transaction.sql.dead_letters import SqlDeadLetters

from tests.chat_transaction.conftest import Seen, Shop, entry, until
from tests.services.redis import Redis, running_redis


@pytest.fixture
def redis(tmp_path: Path) -> Any:
    with running_redis(tmp_path / "redis") as server:
        yield server


@asynccontextmanager
async def node(shop: Shop, redis: Redis, *consumers: Consumer, **settings: Any) -> AsyncIterator[SqlRelay]:
    """One process: its relay and its consumers."""
    settings = {
        "scan_interval": 0.1,
        "purge_interval": 0.01,
        "retry_first": 0.01,
        "drain_timeout": 0.2,
        "lease": 3,
    } | settings
    broker = RedisBroker(RedisBrokerSettings(url=redis.url, lease=0.6, retry_first=0.01, shards=4))
    async with broker.opened():
        relay = SqlRelay(shop.outbox, broker, shop.database, shop.clock, RelaySettings(**settings))
        async with relay.running(consumers, ()):
            yield relay


def numbers(count: int) -> list[bytes]:
    return [str(number).encode() for number in range(count)]


def once(payloads: Sequence[bytes]) -> list[bytes]:
    return list(dict.fromkeys(payloads))


async def test_two_nodes_carry_everything_in_order(open_shop: Callable[[], Shop], redis: Redis) -> None:
    one, two = open_shop(), open_shop()
    seen = Seen()  # Of both, in the order in which it happens: leases may pass to and fro while the machine is busy.
    async with (
        node(one, redis, Consumer("orders", "mail", seen)),
        node(two, redis, Consumer("orders", "mail", seen)),
    ):
        for number in range(50):
            await (one if number % 2 else two).write(*(entry(f"k{key}", number) for key in range(8)))
        await until(lambda: _arrived(400, seen))
        await one.until_empty()
    for key in range(8):
        assert once(seen.payloads(f"k{key}")) == numbers(50)


async def _arrived(count: int, *seen: Seen) -> bool:
    return len({record.id for each in seen for record in each.records}) >= count


async def test_a_row_is_kept_until_it_is_handled(shop: Shop, redis: Redis) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def handle(records: Sequence[BrokerRecord]) -> None:
        entered.set()
        await go_on.wait()

    async with node(shop, redis, Consumer("orders", "mail", handle)):
        await shop.write(entry("a", 0))
        async with asyncio.timeout(20):
            await entered.wait()
        assert len(await shop.rows()) == 1
        go_on.set()
        await shop.until_empty()


async def test_every_group_must_have_handled_it(shop: Shop, redis: Redis) -> None:
    mail = Seen()
    go_on = asyncio.Event()

    async def audit(records: Sequence[BrokerRecord]) -> None:
        await go_on.wait()

    async with node(shop, redis, Consumer("orders", "mail", mail), Consumer("orders", "audit", audit)):
        await shop.write(entry("a", 0), entry("b", 1))
        await mail.count(2)

        async def noted() -> bool:
            return len(await shop.rows(tables.state)) == 2

        await until(noted)
        assert len(await shop.rows()) == 2
        go_on.set()
        await shop.until_empty()
        assert not await shop.rows(tables.state)


@pytest.mark.parametrize("capacity", [1_000, 5])
async def test_what_redis_forgot_is_published_again(shop: Shop, redis: Redis, capacity: int) -> None:
    seen = Seen()
    gate = asyncio.Event()

    async def handle(records: Sequence[BrokerRecord]) -> None:
        if not gate.is_set():
            await gate.wait()
            raise ConnectionError("the effect's database went away with Redis")
        await seen(records)

    async with node(shop, redis, Consumer("orders", "mail", handle), republish_after=0.5, capacity=capacity):
        for number in range(20):
            await shop.write(entry(f"k{number % 4}", number))

        async def published() -> bool:
            import redis.asyncio as client

            async with client.Redis.from_url(redis_url) as connection:
                return sum([await connection.xlen(f"chat:broker:orders:{shard}") for shard in range(4)]) == min(
                    20, capacity
                )

        redis_url = redis.url
        await until(published)
        redis.kill()
        gate.set()
        await shop.write(entry("k0", 20))
        redis.start()
        await until(lambda: _arrived(21, seen))
        await shop.until_empty()
    for key in range(4):
        wanted = [str(number).encode() for number in range(21) if number % 4 == key]
        assert once(seen.payloads(f"k{key}")) == wanted


async def test_parks_and_releases_a_key(shop: Shop, redis: Redis) -> None:
    seen = Seen()
    broken = True

    async def handle(records: Sequence[BrokerRecord]) -> None:
        if broken and any(record.payload == b"1" for record in records):
            raise ValueError("no")
        await seen(records)

    async with node(shop, redis, Consumer("orders", "mail", handle, attempts=2, on_failure="park")) as relay:
        await shop.write(*(entry("a", number) for number in range(4)), entry("b", 9))

        async def parked() -> bool:
            rows = [row.payload for row in await shop.rows() if row.parked]
            return rows == [b"1", b"2", b"3"] and not relay._in_flight.rows  # and the relay has seen it

        await until(parked)
        broken = False
        dead_letters = SqlDeadLetters(shop.database, shop.clock)
        assert await dead_letters.replay([letter.id for letter in await dead_letters.list()]) == 1
        await seen.count(5)
        await shop.until_empty()
    assert once(seen.payloads("a")) == numbers(4)


async def test_buries_with_the_reason(shop: Shop, redis: Redis) -> None:
    async def handle(records: Sequence[BrokerRecord]) -> None:
        raise ValueError("cannot print this")

    async with node(shop, redis, Consumer("orders", "mail", handle, attempts=2)):
        await shop.write(entry("a", 0))
        await shop.until_empty()
    (letter,) = await shop.rows(tables.dead_letters)
    assert (letter.attempts, letter.payload) == (2, b"0")
    assert letter.reason.startswith("ValueError: cannot print this")
