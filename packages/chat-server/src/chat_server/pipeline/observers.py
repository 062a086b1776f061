"""Tells observers what has happened. They can neither change nor fail anything, nor hold anything up."""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import structlog
from chat_common.plugins import Owned
from chat_common.records import Observer

_log = structlog.get_logger("chat_server.observers")

WAITING = 1_000
"""Coroutines of observers that may run at the same time; what comes then is dropped and counted."""


class Observers:
    """The observers by event name. `dropped` counts what a slow one has missed."""

    def __init__(self, observers: Iterable[Owned[Observer]]) -> None:
        self._by_event: dict[str, list[Observer]] = defaultdict(list)
        for owned in observers:
            for event in owned.record.events:
                self._by_event[event].append(owned.record)
        self._running: set[asyncio.Task[None]] = set()
        self.dropped = 0

    def tell(self, event: str, data: Any) -> None:
        """Never raises, never waits."""
        for observer in self._by_event.get(event, ()):
            try:
                result = observer.handler(event, data)
            except Exception as error:
                _log.error("observer_failed", observer=observer.name, told=event, exc_info=error)
                continue
            if inspect.iscoroutine(result):
                if len(self._running) >= WAITING:
                    result.close()
                    self.dropped += 1
                    continue
                task = asyncio.create_task(_quietly(observer, event, result))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def close(self, timeout: float = 5.0) -> None:
        """Let what runs end; what takes longer than ``timeout`` seconds is cancelled."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=timeout)
            for task in late:
                task.cancel()


async def _quietly(observer: Observer, event: str, result: Any) -> None:
    try:
        await result
    except Exception as error:
        _log.error("observer_failed", observer=observer.name, told=event, exc_info=error)
