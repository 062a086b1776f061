from __future__ import annotations

from chat_common.clock import ManualClock
from chat_common.memory.directory import MemoryDirectory
from chat_common.ports.directory import Route


async def test_seats_that_are_over_do_not_pile_up() -> None:
    clock = ManualClock()
    directory = MemoryDirectory(clock)
    for n in range(1_000):
        await directory.register(Route(f"u{n}", "phone", f"s{n}", "node", "boot"), lease=10)
        clock.advance(1)
    assert len(directory._routes) <= 21
    assert len(directory._users) == len(directory._routes)
