"""What every `Cache` must hold: run each of `checks()` with an open cache.

::

    @pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
    async def test_contract(check):
        clock = ManualClock()
        await check(MemoryCache(clock), elapse)     # elapse(seconds) lets time pass: moves a clock, or sleeps

Each uses keys of its own, so that they may run against a shared server. Times are tenths of a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from uuid import uuid4

from chat_common.errors import Unavailable
from chat_common.ports.cache import Cache

Elapse = Callable[[float], Awaitable[None]]
Check = Callable[[Cache, Elapse], Awaitable[None]]


def checks() -> Sequence[Check]:
    """All checks, in no order that matters."""
    return [
        put_get_delete,
        a_lifetime_ends,
        putting_again_begins_a_new_lifetime,
        add_lets_exactly_one_win,
        take_gives_to_exactly_one,
        a_counter_loses_no_step,
        a_counter_keeps_its_first_lifetime,
        a_rate_allows_its_burst_and_refills,
        rates_of_keys_are_independent,
        a_hold_excludes_and_is_fenced,
        a_hold_that_is_not_given_up_is_unavailable,
        a_hold_ends_with_its_lifetime,
        a_late_holder_does_not_release_the_next,
        a_hold_is_released_by_an_exception,
    ]


async def put_get_delete(cache: Cache, elapse: Elapse) -> None:
    key = uuid4().hex
    assert await cache.get(key) is None
    await cache.put(key, b"\x00\xff value", ttl=5)
    assert await cache.get(key) == b"\x00\xff value"
    await cache.put(key, b"", ttl=5)
    assert await cache.get(key) == b""
    await cache.delete(key)
    await cache.delete(key)
    assert await cache.get(key) is None


async def a_lifetime_ends(cache: Cache, elapse: Elapse) -> None:
    key = uuid4().hex
    await cache.put(key, b"1", ttl=0.2)
    assert await cache.get(key) == b"1"
    await elapse(0.3)
    assert await cache.get(key) is None
    assert await cache.take(key) is None
    assert await cache.add(key, b"2", ttl=5)


async def putting_again_begins_a_new_lifetime(cache: Cache, elapse: Elapse) -> None:
    key = uuid4().hex
    await cache.put(key, b"1", ttl=0.2)
    await cache.put(key, b"2", ttl=5)
    await elapse(0.3)
    assert await cache.get(key) == b"2"


async def add_lets_exactly_one_win(cache: Cache, elapse: Elapse) -> None:
    key = uuid4().hex
    won = await asyncio.gather(*(cache.add(key, str(n).encode(), ttl=5) for n in range(20)))
    assert sum(won) == 1
    assert await cache.get(key) == str(won.index(True)).encode()


async def take_gives_to_exactly_one(cache: Cache, elapse: Elapse) -> None:
    key = uuid4().hex
    await cache.put(key, b"it", ttl=5)
    taken = await asyncio.gather(*(cache.take(key) for _ in range(20)))
    assert sorted(value for value in taken if value is not None) == [b"it"]


async def a_counter_loses_no_step(cache: Cache, elapse: Elapse) -> None:
    key = uuid4().hex
    sums = await asyncio.gather(*(cache.count(key, ttl=5) for _ in range(20)))
    assert sorted(sums) == list(range(1, 21))
    assert await cache.count(key, 10, ttl=5) == 30
    assert await cache.count(key, -31, ttl=5) == -1


async def a_counter_keeps_its_first_lifetime(cache: Cache, elapse: Elapse) -> None:
    key = uuid4().hex
    await cache.count(key, ttl=0.4)
    await elapse(0.2)
    assert await cache.count(key, ttl=0.4) == 2
    await elapse(0.3)
    assert await cache.count(key, ttl=0.4) == 1


async def a_rate_allows_its_burst_and_refills(cache: Cache, elapse: Elapse) -> None:
    key = uuid4().hex
    assert [await cache.allow(key, limit=5, period=2) for _ in range(5)] == [0.0] * 5
    wait = await cache.allow(key, limit=5, period=2)
    assert 0 < wait <= 0.4
    again = await cache.allow(key, limit=5, period=2)
    assert 0 < again <= 0.4, "a refused request must not be counted"
    await elapse(wait + 0.02)
    assert await cache.allow(key, limit=5, period=2) == 0.0
    assert await cache.allow(key, limit=5, period=2) > 0


async def rates_of_keys_are_independent(cache: Cache, elapse: Elapse) -> None:
    first, second = uuid4().hex, uuid4().hex
    assert await cache.allow(first, limit=1, period=5) == 0.0
    assert await cache.allow(first, limit=1, period=5) > 0
    assert await cache.allow(second, limit=1, period=5) == 0.0


async def a_hold_excludes_and_is_fenced(cache: Cache, elapse: Elapse) -> None:
    key, inside, fences = uuid4().hex, 0, []

    async def enter() -> None:
        nonlocal inside
        async with cache.hold(key, ttl=30) as fence:
            inside += 1
            assert inside == 1, "two hold the same key"
            fences.append(fence)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter() for _ in range(10)))
    assert len(fences) == 10
    assert fences == sorted(set(fences)), "a later holder must have a greater number"


async def a_hold_that_is_not_given_up_is_unavailable(cache: Cache, elapse: Elapse) -> None:
    key = uuid4().hex
    async with cache.hold(key, ttl=30), AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(cache.hold(key, ttl=30, wait=0.1))
        except Unavailable:
            return
        raise AssertionError("the key was held twice")


async def a_hold_ends_with_its_lifetime(cache: Cache, elapse: Elapse) -> None:
    key = uuid4().hex
    async with cache.hold(key, ttl=0.2) as first:
        await elapse(0.3)
        async with cache.hold(key, ttl=30, wait=1) as second:
            assert second > first


async def a_late_holder_does_not_release_the_next(cache: Cache, elapse: Elapse) -> None:
    key = uuid4().hex
    late = cache.hold(key, ttl=0.2)
    await late.__aenter__()
    await elapse(0.3)
    async with cache.hold(key, ttl=30), AsyncExitStack() as stack:
        await late.__aexit__(None, None, None)
        try:
            await stack.enter_async_context(cache.hold(key, ttl=30, wait=0.1))
        except Unavailable:
            return
        raise AssertionError("the late holder has released somebody else's hold")


async def a_hold_is_released_by_an_exception(cache: Cache, elapse: Elapse) -> None:
    key = uuid4().hex
    try:
        async with cache.hold(key, ttl=30):
            raise LookupError
    except LookupError:
        pass
    async with cache.hold(key, ttl=30, wait=0.1):
        pass
