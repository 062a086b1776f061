"""The broker on Redis Streams: a stream per shard, read by the shard's owner."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from chat_common.backoff import pause
from chat_common.errors import Unavailable
from chat_common.ports.broker import BrokerRecord, Handler, RecordsRefused, Refusal
from redis.exceptions import NoPermissionError, RedisError

from chat_transaction.brokers.chunks import chunks
from chat_transaction.brokers.delivery import cancelled
from chat_transaction.redis import broker_scripts
from chat_transaction.redis.broker_keys import BrokerKeys
from chat_transaction.redis.connection import connect, disconnect
from chat_transaction.redis.eviction import eviction, refuse_eviction
from chat_transaction.redis.shard import Entry
from chat_transaction.redis.subscription import Subscription
from chat_transaction.settings import RedisBrokerSettings

log = logging.getLogger(__name__)


class RedisBroker:
    """`chat_common.ports.broker.Broker` on Redis 7 or Valkey, one server (not Redis Cluster).

    Each topic is ``shards`` streams. In each group a shard has one owner at a time, by a lease in Redis; the owner
    alone reads it. What a vanished owner had not acknowledged is claimed when its shard is taken over, before anything
    new. A stream is trimmed up to what every group has handled. Redis must not evict: `opened` refuses to go on where
    it would (`SetupError`), and `ready` fails when that has changed.
    """

    def __init__(self, settings: RedisBrokerSettings | None = None) -> None:
        self.settings = settings or RedisBrokerSettings()
        self.client = connect(self.settings, connections=self.settings.connections, timeout=10)
        script = self.client.register_script
        self._publish, self._delay = script(broker_scripts.PUBLISH), script(broker_scripts.DELAY)
        self.keys = BrokerKeys(self.settings.prefix, self.settings.shards)
        self._locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RedisBroker]:
        try:
            try:
                await refuse_eviction(self.client, "the broker")
            except Unavailable as error:
                log.warning("the broker begins without Redis, whose maxmemory-policy is unknown: %s", error.message)
            yield self
        finally:
            await disconnect(self.client)

    async def ready(self) -> None:
        if (wrong := await eviction(self.client, "the broker")) is not None:
            raise Unavailable(wrong)

    async def publish(self, records: Sequence[BrokerRecord], *, delay: float = 0.0) -> None:
        parts: dict[tuple[str, int], list[BrokerRecord]] = {}
        for record in records:
            parts.setdefault((record.topic, self.keys.shard_of(record.key)), []).append(record)
        refusals: list[Refusal] = []
        for (topic, shard), part in parts.items():
            sized, large = chunks(part, _encode, self.settings.record_bytes)
            refusals += large
            try:
                for chunk in sized:
                    if delay > 0:
                        pairs = [item for each, data in chunk for item in (f"{shard}:{each.id}", data)]
                        await self._delay(keys=self.keys.delayed(topic), args=[round(delay * 1000), *pairs])
                    else:
                        await self._append(self.keys.stream(topic, shard), [data for _, data in chunk])
            except (RedisError, OSError) as error:
                if not isinstance(error, NoPermissionError) and not str(error).startswith("WRONGTYPE"):
                    raise Unavailable(f"Redis does not take records: {error}") from error
                # Something else has the name of the topic, or this user may not write to it.
                reason = f"Redis says {error}"
                refusals += [Refusal(each, reason, "topic") for chunk in sized for each, _ in chunk]
        if refusals:
            raise RecordsRefused(refusals)

    async def _append(self, stream: str, encoded: Sequence[bytes]) -> None:
        # One publisher at a time: one that waits for room is not overtaken by a later one.
        async with self._locks.setdefault(stream, asyncio.Lock()):
            for attempt in itertools.count(1):
                if await self._publish(keys=[stream], args=[self.settings.capacity, *encoded]):
                    return
                await asyncio.sleep(pause(attempt, 0.005, 0.2))

    def provision(self, topics: Iterable[str], groups: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """Nothing: topics and groups begin with their use."""
        return {}

    @asynccontextmanager
    async def subscribe(self, topic: str, group: str, handler: Handler, *, batch: int = 100) -> AsyncIterator[None]:
        subscription = Subscription(self.client, self.settings, self.keys, topic, group, handler, batch)
        try:
            # Again, for it may have been away when the broker was opened.
            await refuse_eviction(self.client, "the broker")
            await subscription.create_groups()
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis does not answer: {error}") from error
        task = asyncio.create_task(subscription.run(), name=subscription.name)
        try:
            yield
        finally:
            subscription.stop()
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                await cancelled([task], subscription.name)
                raise


def _encode(record: BrokerRecord) -> bytes:
    return msgspec.msgpack.encode(Entry(record.key, record.id, record.payload, record.headers))
