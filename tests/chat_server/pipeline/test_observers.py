from __future__ import annotations

import asyncio
from typing import Any

from chat_common.plugins import Owned, Owner
from chat_common.records import Observer
from chat_server.pipeline import Observers
from chat_server.pipeline import observers as module


def tell(*observers: Observer) -> Observers:
    return Observers(Owned(observer, Owner("tests")) for observer in observers)


async def test_they_are_told_what_they_asked_for_and_can_fail_nothing() -> None:
    heard: list[Any] = []

    def breaks(event: str, data: Any) -> None:
        raise LookupError

    async def breaks_later(event: str, data: Any) -> None:
        raise LookupError

    async def hears(event: str, data: Any) -> None:
        await asyncio.sleep(0)
        heard.append((event, data))

    told = tell(
        Observer("breaks", ["stored"], breaks),
        Observer("later", ["stored"], breaks_later),
        Observer("hears", ["stored", "read"], hears),
    )
    told.tell("stored", 1)
    told.tell("read", 2)
    told.tell("unheard", 3)
    await told.close()
    assert heard == [("stored", 1), ("read", 2)]


async def test_a_slow_one_is_bounded_and_ended() -> None:
    async def hangs(event: str, data: Any) -> None:
        await asyncio.Event().wait()

    told = tell(Observer("hangs", ["stored"], hangs))
    for _ in range(module.WAITING + 5):
        told.tell("stored", None)
    assert told.dropped == 5
    await told.close(timeout=0.01)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not told._running
