from __future__ import annotations

import asyncio

from chat_common.clock import ManualClock
from chat_common.memory.cache import MemoryCache


async def test_the_oldest_is_dropped_when_it_is_full() -> None:
    cache = MemoryCache(ManualClock(), entries=3)
    for name in "abc":
        await cache.put(name, b"1", ttl=60)
    await cache.put("a", b"2", ttl=60)
    await cache.put("d", b"1", ttl=60)
    assert [name for name in "abcd" if await cache.get(name)] == ["a", "c", "d"]
    for n in range(10):
        await cache.allow(str(n), limit=1, period=60)
    assert len(cache._rates) == 3


async def test_fences_grow_over_a_restart() -> None:
    clock = ManualClock()
    async with MemoryCache(clock).hold("key", ttl=1) as before:
        pass
    clock.advance(0.001)
    async with MemoryCache(clock).hold("key", ttl=1) as after:
        assert after > before
    assert after < 2**53


async def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    cache = MemoryCache(ManualClock())
    async with cache.hold("key", ttl=60):

        async def wait() -> None:
            async with cache.hold("key", ttl=60, wait=60):
                raise AssertionError("held twice")

        waiter = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait([waiter])
    async with cache.hold("key", ttl=60, wait=0):
        assert not cache._released
