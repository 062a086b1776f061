"""Who is called for which event: plain functions at once, coroutine functions one event after the other."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

CAPACITY = 10_000
"""Events that may wait for one asynchronous handler."""


class Handlers:
    """What fails in a handler is logged, and harms no other handler and no later event."""

    def __init__(self) -> None:
        self._by_kind: dict[type[Any], list[_Handler]] = {}

    def add(self, kind: type[Any], function: Callable[[Any], Any]) -> Callable[[], None]:
        """Call ``function`` for each event of this class; returns what ends that."""
        handler = _Handler(kind.__name__, function)
        handlers = self._by_kind.setdefault(kind, [])
        handlers.append(handler)

        def end() -> None:
            if handler in handlers:
                handlers.remove(handler)
                handler.cancel()

        return end

    def emit(self, event: Any) -> None:
        for handler in list(self._by_kind.get(type(event), ())):
            handler.take(event)

    async def close(self) -> None:
        """Cancel running handlers, and drop the events that wait for one."""
        tasks = [task for handlers in self._by_kind.values() for handler in handlers if (task := handler.cancel())]
        if tasks:
            await asyncio.wait(tasks)


class _Handler:
    def __init__(self, kind: str, function: Callable[[Any], Any]) -> None:
        self.kind = kind
        self.function = function
        self.waiting: deque[Any] = deque()
        self.task: asyncio.Task[None] | None = None
        self.behind = False

    def take(self, event: Any) -> None:
        if not inspect.iscoroutinefunction(self.function):
            try:
                self.function(event)
            except Exception:
                logger.exception("a handler of %s failed", self.kind)
            return
        if len(self.waiting) >= CAPACITY:
            if not self.behind:
                logger.error("a handler of %s is %d events behind; it misses what comes now", self.kind, CAPACITY)
            self.behind = True
            return
        self.behind = False
        self.waiting.append(event)
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self._run(), name=f"chat-client-handler-{self.kind}")

    async def _run(self) -> None:
        while self.waiting:
            event = self.waiting.popleft()
            try:
                await self.function(event)
            except Exception:
                logger.exception("a handler of %s failed", self.kind)

    def cancel(self) -> asyncio.Task[None] | None:
        self.waiting.clear()
        if self.task is not None and not self.task.done() and self.task is not asyncio.current_task():
            self.task.cancel()
            return self.task
        return None
