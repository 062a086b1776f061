from __future__ import annotations

import asyncio
from collections.abc import Iterator
from secrets import token_hex

import pytest
from chat_common.clock import ManualClock, SystemClock
from chat_common.contracts import cache as contract
from chat_common.memory.cache import MemoryCache
from chat_transaction.redis.cache import RedisCache
from chat_transaction.settings import RedisCacheSettings

from tests.services.redis import redis_url


@pytest.mark.parametrize("check", contract.checks(), ids=lambda check: check.__name__)
async def test_memory(check: contract.Check) -> None:
    clock = ManualClock()

    async def elapse(seconds: float) -> None:
        clock.advance(seconds)

    await check(MemoryCache(clock), elapse)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_url(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.mark.parametrize("check", contract.checks(), ids=lambda check: check.__name__)
async def test_redis(check: contract.Check, redis: str) -> None:
    async with RedisCache(SystemClock(), RedisCacheSettings(url=redis, prefix=token_hex(8))).opened() as cache:
        await check(cache, asyncio.sleep)


async def test_the_checks_find_a_cache_that_forgets_to_exclude() -> None:
    class Careless(MemoryCache):
        async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
            await self.put(key, value, ttl=ttl)
            return True

    async def elapse(seconds: float) -> None: ...

    with pytest.raises(AssertionError):
        await contract.add_lets_exactly_one_win(Careless(ManualClock()), elapse)
