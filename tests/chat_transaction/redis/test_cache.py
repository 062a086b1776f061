"""What the cache on Redis adds to the contract: rates that go on without it, fences that outlive it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from chat_common.clock import ManualClock, SystemClock
from chat_common.errors import Unavailable
from chat_common.memory.rates import Rates
from chat_transaction.redis import cache_scripts
from chat_transaction.redis.cache import RedisCache
from chat_transaction.settings import RedisCacheSettings

from tests.chat_transaction.conftest import until
from tests.services.redis import redis_url, running_redis


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_url(tmp_path_factory.mktemp("redis")) as url:
        yield url


def cache(url: str, **settings: Any) -> RedisCache:
    settings = {"prefix": token_hex(8)} | settings
    return RedisCache(SystemClock(), RedisCacheSettings(url=url, **settings))


async def test_rates_are_those_of_the_memory_backend(url: str) -> None:
    """The script with a clock that the test holds, step by step against `chat_common.memory.rates`."""
    script = cache_scripts.ALLOW.replace("redis.call('TIME')", "{ARGV[3], ARGV[4]}")
    assert script != cache_scripts.ALLOW
    chance = random.Random(5)
    async with cache(url).opened() as mine:
        for limit, period in ((1, 60.0), (5, 7.0), (100, 3_600.0), (3, 0.9 * 60)):
            clock, key, refused = ManualClock(), token_hex(8), 0
            rates = Rates(clock)
            for _ in range(300):
                now = round(clock.monotonic() * 1e6)
                args = [limit, period * 1e6, now // 1_000_000, now % 1_000_000]
                found = float(await mine.client.eval(script, 1, key, *args))
                expected = rates.allow("k", limit, period)
                assert found == pytest.approx(expected, abs=5e-6)
                refused += expected > 0
                clock.advance(round(chance.choice((0.0, 0.0, chance.random() * 2 * period / limit)), 6))
            assert 20 < refused < 280


async def test_all_nodes_count_the_same_rate(url: str) -> None:
    one, two = cache(url, prefix="shared" + token_hex(4)), None
    two = RedisCache(SystemClock(), one.settings)
    async with one.opened(), two.opened():
        done = await asyncio.gather(*(each.allow("k", limit=6, period=600) for each in (one, two) * 10))
        assert sum(wait == 0.0 for wait in done) == 6


async def test_without_redis_each_node_counts_its_part_of_a_rate(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        one = cache(server.url, count_nodes=0.05)
        two = RedisCache(SystemClock(), one.settings)
        async with one.opened(), two.opened():

            async def both_are_known() -> bool:
                return one.nodes == two.nodes == 2

            await until(both_are_known)
            server.kill()
            with pytest.raises(Unavailable):
                await one.get("k")
            for each in (one, two):
                done = [await each.allow("k", limit=10, period=600) for _ in range(20)]
                assert sum(wait == 0.0 for wait in done) == 5
                assert 100 < max(done) <= 120, "one more every period / limit * nodes seconds"


async def test_a_node_that_is_gone_is_not_counted_for_long(url: str) -> None:
    one = cache(url, count_nodes=0.05)
    async with one.opened():
        async with RedisCache(SystemClock(), one.settings).opened():

            async def two() -> bool:
                return one.nodes == 2

            await until(two)

        async def alone() -> bool:
            return one.nodes == 1

        await until(alone)


async def test_fences_go_on_growing_when_redis_has_lost_its_memory(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        async with cache(server.url).opened() as mine:
            fences = []
            for _ in range(3):
                async with mine.hold("k", ttl=5) as fence:
                    fences.append(fence)
            await mine.client.flushall()
            async with mine.hold("k", ttl=5) as fence:
                fences.append(fence)
            assert fences == sorted(set(fences))
            assert fences[0] > 2**50, "they follow the clock"


async def test_a_hold_whose_redis_goes_away_ends_without_a_word(tmp_path: Path) -> None:
    """What was done under it stands; the next holder waits for its lifetime to end."""
    with running_redis(tmp_path) as server:
        async with cache(server.url).opened() as mine:
            async with mine.hold("k", ttl=5):
                server.kill()
            with pytest.raises(Unavailable):
                async with mine.hold("k", ttl=5):
                    raise AssertionError("it cannot be held")


async def test_calls_of_one_turn_travel_together(url: str) -> None:
    async with cache(url).opened() as mine:
        await mine.put("k", b"1", ttl=5)
        before = int((await mine.client.info("stats"))["total_net_input_bytes"])
        reads = int((await mine.client.info("stats")).get("total_reads_processed", 0))
        await asyncio.gather(*(mine.get("k") for _ in range(400)))
        stats = await mine.client.info("stats")
        assert int(stats["total_net_input_bytes"]) - before > 400 * 40
        assert int(stats["total_reads_processed"]) - reads < 40


async def test_a_thousand_calls_take_no_longer_than_they_must(url: str) -> None:
    """No bar, only a bound that a round trip for each call would break under any load."""
    async with cache(url).opened() as mine:
        began = time.monotonic()
        sums = await asyncio.gather(*(mine.count("n", ttl=5) for _ in range(1_000)))
        assert sorted(sums) == list(range(1, 1_001))
        assert time.monotonic() - began < 10
