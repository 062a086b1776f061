"""A cache inside the process: bounded, and forgotten when the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Annotated

from attrs import frozen
from msgspec import Meta

from chat_common.clock import Clock
from chat_common.errors import Unavailable
from chat_common.memory.rates import Rates
from chat_common.ports.cache import Cache
from chat_common.records import Backend, Context
from chat_common.settings import setting


@frozen
class MemoryCacheSettings:
    entries: Annotated[int, Meta(ge=100)] = setting(100_000, help="Values kept at most; the oldest is dropped first.")


class MemoryCache:
    """`chat_common.ports.cache.Cache` on dictionaries. One event loop: every step between two awaits is atomic."""

    def __init__(self, clock: Clock, entries: int = 100_000) -> None:
        self._clock = clock
        self._entries = entries
        self._values: dict[str, tuple[bytes | int, float]] = {}
        self._rates = Rates(clock, entries)
        self._holders: dict[str, tuple[int, float]] = {}
        self._released: dict[str, list[asyncio.Future[None]]] = {}
        # Fences outlive the process in what was written under them, so a restart must begin above the former ones.
        self._fences = count(clock.wall_ms() << 10)

    async def get(self, key: str) -> bytes | None:
        value = self._live(key)
        return str(value).encode() if isinstance(value, int) else value

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        self._store(key, value, self._clock.monotonic() + ttl)

    async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
        if self._live(key) is not None:
            return False
        self._store(key, value, self._clock.monotonic() + ttl)
        return True

    async def take(self, key: str) -> bytes | None:
        value = await self.get(key)
        self._values.pop(key, None)
        return value

    async def delete(self, key: str) -> None:
        self._values.pop(key, None)

    async def count(self, key: str, by: int = 1, *, ttl: float) -> int:
        value = self._live(key)
        if value is None:
            value, expires = 0, self._clock.monotonic() + ttl
        else:
            expires = self._values[key][1]
        total = int(value) + by
        self._store(key, total, expires)
        return total

    async def allow(self, key: str, *, limit: int, period: float) -> float:
        return self._rates.allow(key, limit, period)

    @asynccontextmanager
    async def hold(self, key: str, *, ttl: float, wait: float = 10.0) -> AsyncIterator[int]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while (holder := self._holders.get(key)) is not None and holder[1] > (now := self._clock.monotonic()):
            left = deadline - loop.time()
            if left <= 0:
                raise Unavailable(f"{key!r} is held by somebody else for more than {wait} s")
            released = loop.create_future()
            self._released.setdefault(key, []).append(released)
            try:
                await asyncio.wait([released], timeout=min(left, holder[1] - now))
            finally:
                self._forget(key, released)
        fence = next(self._fences)
        self._holders[key] = (fence, self._clock.monotonic() + ttl)
        try:
            yield fence
        finally:
            if self._holders.get(key, (0, 0.0))[0] == fence:
                del self._holders[key]
                for waiter in self._released.get(key, ()):
                    if not waiter.done():
                        waiter.set_result(None)

    def _forget(self, key: str, released: asyncio.Future[None]) -> None:
        waiters = self._released[key]
        waiters.remove(released)
        if not waiters:
            del self._released[key]

    def _live(self, key: str) -> bytes | int | None:
        found = self._values.get(key)
        if found is None:
            return None
        if found[1] <= self._clock.monotonic():
            del self._values[key]
            return None
        return found[0]

    def _store(self, key: str, value: bytes | int, expires: float) -> None:
        self._values.pop(key, None)
        self._values[key] = (value, expires)
        if len(self._values) > self._entries:
            del self._values[next(iter(self._values))]


@asynccontextmanager
async def _open(context: Context) -> AsyncIterator[Cache]:
    yield MemoryCache(context.clock, context.settings.entries)


MEMORY_CACHE = Backend(
    Cache, "memory", _open, MemoryCacheSettings, "Inside the process, forgotten when it ends.", default=True
)
