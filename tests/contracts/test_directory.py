from __future__ import annotations

import pytest
from chat_common.clock import ManualClock
from chat_common.contracts import directory as contract
from chat_common.memory.directory import MemoryDirectory
from chat_common.ports.directory import Route


@pytest.mark.parametrize("check", contract.checks(), ids=lambda check: check.__name__)
async def test_memory(check: contract.Check) -> None:
    clock = ManualClock()

    async def elapse(seconds: float) -> None:
        clock.advance(seconds)

    await check(MemoryDirectory(clock), elapse)


async def test_the_checks_find_a_directory_that_does_not_compare() -> None:
    class Careless(MemoryDirectory):
        async def unregister(self, route: Route) -> bool:
            self._remove(route.session)
            return True

    async def elapse(seconds: float) -> None: ...

    with pytest.raises(AssertionError):
        await contract.a_late_clean_up_leaves_the_new_route(Careless(ManualClock()), elapse)
