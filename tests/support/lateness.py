"""Makes what a room was told come late, as under load: races that need a slow answer show in seconds, not in weeks.

Everything is read or done when it should be; only the caller hears of it up to ``most`` seconds later. No promise of
the server depends on how long its own answers take, so a kill run must find nothing in this mode either.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import random
import re
from collections.abc import Iterator
from typing import Any

from attrs import frozen


@frozen
class Late:
    """Which coroutine methods of a class are late: how often, and by what share of the longest delay."""

    module: str
    name: str
    methods: str
    chance: float = 1.0
    share: float = 1.0

    def found(self) -> Iterator[tuple[type[Any], str]]:
        cls = getattr(importlib.import_module(self.module), self.name)
        for method, function in list(vars(cls).items()):
            if re.fullmatch(self.methods, method) and inspect.iscoroutinefunction(function):
                yield cls, method


PLACES = (
    Late("chat_server.im.service", "Im", r"[a-z]\w*"),
    Late("chat_server.im.fanout", "Fanout", r"_[a-z]\w*", chance=0.3, share=0.5),
    Late("chat_server.store.batched_reads", "BatchedReads", "read", chance=0.3),
    Late("chat_common.memory.directory", "MemoryDirectory", "register|routes", chance=0.3, share=0.5),
)
"""What im answers, what fan-out waits for, what many readers share, and who is online where."""


def delay_answers(most: float) -> None:
    """From now on, in this process, what these methods return comes late by up to ``most`` seconds."""
    for place in PLACES:
        for cls, method in place.found():
            setattr(cls, method, _late(getattr(cls, method), most * place.share, place.chance))


def _late(function: Any, most: float, chance: float) -> Any:
    @functools.wraps(function)
    async def slow(*arguments: Any, **named: Any) -> Any:
        answer = await function(*arguments, **named)
        if random.random() < chance:
            await asyncio.sleep(random.uniform(0, most))
        return answer

    return slow
