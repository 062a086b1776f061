from __future__ import annotations

import asyncio
from collections.abc import Iterator
from secrets import token_hex

import pytest
from chat_common.clock import ManualClock
from chat_common.contracts import directory as contract
from chat_common.memory.directory import MemoryDirectory
from chat_common.ports.directory import Route
from chat_transaction.redis.directory import RedisDirectory
from chat_transaction.settings import RedisDirectorySettings

from tests.services.redis import redis_url


@pytest.mark.parametrize("check", contract.checks(), ids=lambda check: check.__name__)
async def test_memory(check: contract.Check) -> None:
    clock = ManualClock()

    async def elapse(seconds: float) -> None:
        clock.advance(seconds)

    await check(MemoryDirectory(clock), elapse)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_url(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.mark.parametrize("check", contract.checks(), ids=lambda check: check.__name__)
async def test_redis(check: contract.Check, redis: str) -> None:
    async with RedisDirectory(RedisDirectorySettings(url=redis, prefix=token_hex(8))).opened() as directory:
        await check(directory, asyncio.sleep)


async def test_the_checks_find_a_directory_that_does_not_compare() -> None:
    class Careless(MemoryDirectory):
        async def unregister(self, route: Route) -> bool:
            self._remove(route.session)
            return True

    async def elapse(seconds: float) -> None: ...

    with pytest.raises(AssertionError):
        await contract.a_late_clean_up_leaves_the_new_route(Careless(ManualClock()), elapse)
