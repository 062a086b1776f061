"""What the directory on Redis adds to the contract: a Redis that is emptied, restarted, away, or replaced."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from chat_common.errors import Unavailable
from chat_common.ports.directory import Route
from chat_common.settings import SetupError
from chat_transaction.redis.directory import RedisDirectory
from chat_transaction.settings import RedisDirectorySettings

from tests.chat_transaction.conftest import until
from tests.services.redis import Redis, running_redis
from tests.services.sentinel import running_sentinel


def directory(url: str, **settings: Any) -> RedisDirectory:
    return RedisDirectory(RedisDirectorySettings(url=url, **settings))


def routes(count: int, node: str = "n1", boot: str = "b1") -> list[Route]:
    return [Route(f"user{number}", "phone", uuid4().hex, node, boot) for number in range(count)]


async def answers(directory: RedisDirectory) -> bool:
    try:
        await directory.nodes()
    except Unavailable:
        return False
    return True


async def heal(directory: RedisDirectory, mine: list[Route]) -> list[str]:
    """What a node does at each renewal; returns the sessions that were missing."""
    lost = await directory.renew("n1", "b1", [route.session for route in mine], lease=5)
    for route in mine:
        if route.session in lost:
            await directory.register(route, lease=5)
    return list(lost)


async def test_an_emptied_redis_is_healed_by_the_next_renewal(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        async with directory(server.url).opened() as mine:
            known = routes(300)
            await asyncio.gather(*(mine.register(route, lease=5) for route in known))
            await asyncio.sleep(0.05)
            assert await mine.known_since() > 0.04
            emptied = time.monotonic()
            await mine.client.flushall()
            age = await mine.known_since()
            assert age <= time.monotonic() - emptied + 0.01, "absence means nothing from before"
            assert not await mine.routes(["user7"])
            assert len(await heal(mine, known)) == 300
            assert await heal(mine, known) == []
            assert await mine.routes(["user7"]) == {"user7": [known[7]]}


async def test_a_part_that_redis_has_lost_is_healed_too(tmp_path: Path) -> None:
    """The user's set is gone, and the session is not: a renewal writes it again."""
    with running_redis(tmp_path) as server:
        async with directory(server.url).opened() as mine:
            (route,) = routes(1)
            await mine.register(route, lease=5)
            await mine.client.delete(mine._user(route.user))
            assert not await mine.routes([route.user])
            assert await heal(mine, [route]) == []
            assert await mine.routes([route.user]) == {route.user: [route]}


async def test_a_restarted_redis_is_another_memory(tmp_path: Path) -> None:
    """Its scripts are loaded again, and its age begins anew; meanwhile nobody waits for it."""
    with running_redis(tmp_path) as server:
        async with directory(server.url).opened() as mine:
            known = routes(3)
            for route in known:
                await mine.register(route, lease=5)
            await asyncio.sleep(0.3)
            server.kill()
            with pytest.raises(Unavailable, match="does not answer"):
                await mine.register(known[0], lease=5)
            with pytest.raises(Unavailable, match="a moment ago") as caught:  # Nothing was asked of it.
                await mine.routes(["user0"])
            assert caught.value.retry_after
            restarted = time.monotonic()
            server.start()
            await until(lambda: answers(mine))
            assert len(await heal(mine, known)) == 3
            age = await mine.known_since()
            assert age <= time.monotonic() - restarted + 0.01
            assert set(await mine.routes(["user0", "user1", "user2"])) == {"user0", "user1", "user2"}


async def test_a_redis_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        async with directory(server.url, timeout=0.3).opened() as mine:
            (route,) = routes(1)
            await mine.register(route, lease=30)
            server.send(signal.SIGSTOP)
            try:
                began = time.monotonic()
                calls = [mine.routes(["user0"]) for _ in range(50)]
                failed = await asyncio.gather(*calls, return_exceptions=True)
                together = time.monotonic() - began
                assert together < 50 * 0.3 / 2, "one patience for all of them, not one after the other"
                assert all(isinstance(each, Unavailable) for each in failed)
            finally:
                server.send(signal.SIGCONT)
            await until(lambda: answers(mine))
            assert await mine.routes(["user0"]) == {"user0": [route]}


async def test_so_many_calls_wait_and_no_more(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        async with directory(server.url, open_calls=10).opened() as mine:
            done = await asyncio.gather(*(mine.nodes() for _ in range(12)), return_exceptions=True)
            refused = [each for each in done if isinstance(each, Unavailable)]
            assert len(refused) == 2
            assert refused[0].limit == 10


async def test_it_opens_without_redis_and_not_with_one_that_evicts(tmp_path: Path) -> None:
    server = Redis(tmp_path, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
    async with directory(server.url).opened() as mine:
        with pytest.raises(Unavailable):
            await mine.nodes()
    server.start()
    try:
        with pytest.raises(SetupError, match=r"allkeys-lru.*noeviction"):
            await directory(server.url).opened().__aenter__()
    finally:
        server.kill()


async def test_a_primary_that_dies_is_followed_by_its_replica(tmp_path: Path) -> None:
    with running_sentinel(tmp_path) as sentinel:
        async with directory(sentinel.url).opened() as mine:
            known = routes(20)
            await asyncio.gather(*(mine.register(route, lease=60) for route in known))
            await asyncio.sleep(0.2)
            before = await mine.known_since()
            assert before > 0.15
            sentinel.primary.kill()

            async def healed() -> bool:
                try:
                    return await heal(mine, known) == []
                except Unavailable:
                    return False

            await until(healed, 30)
            found = await mine.routes([route.user for route in known])
            assert [found[route.user] for route in known] == [[route] for route in known]
            assert (await mine.client.info("server"))["tcp_port"] == sentinel.replica.port
            assert await mine.known_since() < before, "another server: what was written last may be missing"
