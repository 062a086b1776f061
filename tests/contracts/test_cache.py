from __future__ import annotations

import pytest
from chat_common.clock import ManualClock
from chat_common.contracts import cache as contract
from chat_common.memory.cache import MemoryCache


@pytest.mark.parametrize("check", contract.checks(), ids=lambda check: check.__name__)
async def test_memory(check: contract.Check) -> None:
    clock = ManualClock()

    async def elapse(seconds: float) -> None:
        clock.advance(seconds)

    await check(MemoryCache(clock), elapse)


async def test_the_checks_find_a_cache_that_forgets_to_exclude() -> None:
    class Careless(MemoryCache):
        async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
            await self.put(key, value, ttl=ttl)
            return True

    async def elapse(seconds: float) -> None: ...

    with pytest.raises(AssertionError):
        await contract.add_lets_exactly_one_win(Careless(ManualClock()), elapse)
