"""The cache on Redis: what all nodes count and remember together for a while."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chat_common.backoff import pause
from chat_common.clock import Clock
from chat_common.errors import Unavailable
from chat_common.memory.rates import Rates

from chat_transaction.redis import cache_scripts as scripts
from chat_transaction.redis.calls import Calls
from chat_transaction.redis.connection import connect, disconnect
from chat_transaction.settings import RedisCacheSettings

log = logging.getLogger(__name__)

_FIRST, _CAP = 0.005, 0.25
"""Seconds between two looks whether a hold was given up."""


class RedisCache:
    """`chat_common.ports.cache.Cache` on Redis 7 or Valkey: one server, or what Sentinels name. Lifetimes end by the
    clock of Redis. It may evict.

    While Redis is away all operations are `Unavailable`, with one exception: `allow` then counts in this process, this
    node's part of the limit, so that a limit neither opens wide nor shuts everybody out.
    """

    def __init__(self, clock: Clock, settings: RedisCacheSettings | None = None) -> None:
        self.settings = settings or RedisCacheSettings()
        self.client = connect(self.settings, connections=4, timeout=self.settings.timeout, retries=0)
        self._calls = Calls(self.client, self.settings.open_calls)
        self._own_rates = Rates(clock)
        self._id = secrets.token_hex(8)
        self.nodes = 1
        """How many nodes lived when Redis was last asked."""
        script = self.client.register_script
        self._get, self._put, self._add = script(scripts.GET), script(scripts.PUT), script(scripts.ADD)
        self._take, self._delete, self._count = script(scripts.TAKE), script(scripts.DELETE), script(scripts.COUNT)
        self._allow, self._alive = script(scripts.ALLOW), script(scripts.ALIVE)
        self._hold, self._release = script(scripts.HOLD), script(scripts.RELEASE)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RedisCache]:
        try:
            async with self._calls.opened():
                counting = asyncio.create_task(self._count_nodes(), name="nodes of the cache")
                try:
                    yield self
                finally:
                    counting.cancel()
                    await asyncio.gather(counting, return_exceptions=True)
        finally:
            await disconnect(self.client)

    async def get(self, key: str) -> bytes | None:
        return await self._calls.run(self._get, [self._value(key)])  # type: ignore[no-any-return]

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        await self._calls.run(self._put, [self._value(key)], [value, _ms(ttl)])

    async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
        return bool(await self._calls.run(self._add, [self._value(key)], [value, _ms(ttl)]))

    async def take(self, key: str) -> bytes | None:
        return await self._calls.run(self._take, [self._value(key)])  # type: ignore[no-any-return]

    async def delete(self, key: str) -> None:
        await self._calls.run(self._delete, [self._value(key)])

    async def count(self, key: str, by: int = 1, *, ttl: float) -> int:
        return int(await self._calls.run(self._count, [self._value(key)], [by, _ms(ttl)]))

    async def allow(self, key: str, *, limit: int, period: float) -> float:
        try:
            return float(await self._calls.run(self._allow, [f"{self.settings.prefix}:r:{key}"], [limit, period * 1e6]))
        except Unavailable:
            # The same steady rate, divided by the nodes; at least one request may come at once.
            burst = max(1, limit // self.nodes)
            return self._own_rates.allow(key, burst, period * self.nodes * burst / limit)

    @asynccontextmanager
    async def hold(self, key: str, *, ttl: float, wait: float = 10.0) -> AsyncIterator[int]:
        loop = asyncio.get_running_loop()
        deadline, attempt = loop.time() + wait, 0
        name, fences = f"{self.settings.prefix}:h:{key}", f"{self.settings.prefix}:fences"
        while True:
            found, held_for = await self._calls.run(self._hold, [name, fences], [_ms(ttl)])
            if fence := int(found):
                break
            attempt += 1
            left = deadline - loop.time()
            if left <= 0:
                raise Unavailable(f"Somebody else holds {key!r} for more than {wait} s.")
            await asyncio.sleep(min(left, pause(attempt, _FIRST, _CAP), max(0.001, held_for / 1000)))
        try:
            yield fence
        finally:
            try:
                await self._calls.run(self._release, [name], [fence])
            except Unavailable as error:
                # It ends with its lifetime; what was done under it stands.
                log.warning("a hold cannot be given up before its end: %s", error.message)

    async def _count_nodes(self) -> None:
        every = self.settings.count_nodes
        while True:
            try:
                keys = [f"{self.settings.prefix}:nodes"]
                self.nodes = max(1, int(await self._calls.run(self._alive, keys, [self._id, _ms(3 * every)])))
            except Unavailable:
                pass  # as many as there were
            await asyncio.sleep(every)

    def _value(self, key: str) -> str:
        return f"{self.settings.prefix}:v:{key}"


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
