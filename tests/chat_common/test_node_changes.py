from __future__ import annotations

import asyncio
from collections.abc import Mapping

from chat_common.clock import ManualClock
from chat_common.errors import Unavailable
from chat_common.memory.directory import MemoryDirectory
from chat_common.ports.directory import NodeRecord, node_changes

ONE, TWO = NodeRecord("one", "a", 1), NodeRecord("two", "b", 1)


class Directory(MemoryDirectory):
    away = False

    async def nodes(self) -> Mapping[str, NodeRecord]:
        if self.away:
            raise Unavailable
        return await super().nodes()


async def test_arrivals_and_departures_are_told_and_a_directory_that_is_away_is_not_one() -> None:
    clock = ManualClock()
    directory = Directory(clock)
    clock.advance(100)
    await directory.announce(ONE, lease=60)
    changes = node_changes(directory, every=0.001)
    async with asyncio.timeout(20):
        assert await anext(changes) == {"one": ONE}
        await directory.announce(TWO, lease=60)
        assert await anext(changes) == {"one": ONE, "two": TWO}
        directory.away = True
        following = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0.02)
        assert not following.done()
        directory.away = False
        await directory.depart(ONE)
        assert await following == {"two": TWO}
    await changes.aclose()


async def test_a_directory_that_was_emptied_has_lost_nobody() -> None:
    clock = ManualClock()
    directory = Directory(clock)
    clock.advance(100)
    for record in (ONE, TWO):
        await directory.announce(record, lease=60)
    changes = node_changes(directory, every=0.001)
    async with asyncio.timeout(20):
        assert await anext(changes) == {"one": ONE, "two": TWO}
        directory.__init__(clock)  # type: ignore[misc] # as a Redis that comes back empty
        await directory.announce(ONE, lease=60)
        following = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0.02)
        assert not following.done()
        clock.advance(7)
        assert await following == {"one": ONE}, "the other one has not come again"
    await changes.aclose()
