"""The cache of verdicts: fast where it answers, passed over where it does not, never a reason to let anybody in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from chat_common import wire
from chat_common.clock import ManualClock
from chat_common.errors import Unavailable
from chat_common.memory.cache import MemoryCache
from chat_server.auth import verdicts as module
from chat_server.auth.verdicts import HasEnded, Lives, Verdicts

from tests.chat_server.auth.desks import Desk, desk
from tests.chat_server.house import Store

ADA = Lives("jti", wire.User(user="ada", name="Ada"), "web", 10**15)


class Faulty(MemoryCache):
    """A cache that is away, or never answers, as long as the test says so."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.fault: str | None = None

    async def _failing(self) -> None:
        if self.fault == "away":
            raise Unavailable("the cache is away")
        if self.fault == "black hole":
            await asyncio.Event().wait()

    async def get(self, key: str) -> bytes | None:
        await self._failing()
        return await super().get(key)

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        await self._failing()
        await super().put(key, value, ttl=ttl)

    async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
        await self._failing()
        return await super().add(key, value, ttl=ttl)


async def test_an_end_overwrites_a_life_and_not_the_other_way() -> None:
    clock = ManualClock()
    verdicts = Verdicts(MemoryCache(clock), clock)
    await verdicts.lives("login", ADA)
    assert await verdicts.of("login") == ADA
    await verdicts.ended("login", "kick", clock.wall_ms() + 60_000)
    await verdicts.lives("login", ADA)  # A reader that was late.
    assert await verdicts.of("login") == HasEnded("kick")


async def test_a_life_is_believed_for_a_short_time_and_an_end_as_long_as_a_token_could_be_shown() -> None:
    clock = ManualClock()
    verdicts = Verdicts(MemoryCache(clock), clock)
    await verdicts.lives("a", ADA)
    await verdicts.ended("b", "kick", clock.wall_ms() + 3_600_000)
    clock.advance(module.LIVES_FOR + 1)
    assert await verdicts.of("a") is None
    clock.advance(3_500)
    assert await verdicts.of("b") == HasEnded("kick")


async def test_rubbish_in_the_cache_is_nothing() -> None:
    clock = ManualClock()
    cache = MemoryCache(clock)
    await cache.put("auth:login:x", b"\xff not ours", ttl=60)
    assert await Verdicts(cache, clock).of("x") is None


@asynccontextmanager
async def with_cache(store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Desk, Faulty]]:
    async with desk(store) as here:
        cache = Faulty(here.house.clock)
        auth = here.house.rooms.auth
        monkeypatch.setattr(auth.endings.verdicts, "_cache", cache)
        monkeypatch.setattr(module, "PATIENCE", 0.02)
        yield here, cache


async def count_reads(here: Desk, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    asked: list[Any] = []
    standings = here.house.rooms.auth._authenticate.standings
    of = standings.of

    async def counted(claims: Any) -> Any:
        asked.append(claims)
        return await of(claims)

    monkeypatch.setattr(standings, "of", counted)
    return asked


async def test_a_second_call_asks_the_cache_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_cache(store, monkeypatch) as (here, _):
        token = await here.log_in("web")
        asked = await count_reads(here, monkeypatch)
        for _ in range(5):
            assert await here.is_in(token) == "in"
        assert len(asked) == 1
        await here.hello(token, "web")
        assert len(asked) == 2, "a hello asks the store"


@pytest.mark.parametrize("fault", ["away", "black hole", "flushed"])
async def test_without_the_cache_nobody_is_logged_out_and_nobody_let_in(
    store: Store, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    async with with_cache(store, monkeypatch) as (here, cache):
        good, bad = await here.log_in("web"), await here.log_in("iphone")
        for token in (good, bad):
            assert await here.is_in(token) == "in"
        cache.fault = fault
        if fault == "flushed":
            cache._values.clear()
        await here.call(good, "auth.kick", device="iphone")
        if fault == "flushed":
            cache._values.clear()
        assert await here.is_in(good) == "in"
        assert await here.is_in(bad, "iphone") == "not_authenticated 4409"
        if fault != "flushed":
            assert await here.is_in(bad) == "not_authenticated 4409"
        cache.fault = None
        here.house.clock.advance(module.LIVES_FOR + 1)
        assert await here.is_in(bad) == "not_authenticated 4409"
        assert await here.is_in(good) == "in"
