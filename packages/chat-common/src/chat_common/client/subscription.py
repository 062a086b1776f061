"""One reader's view of what happens: a bounded queue of events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from chat_common.errors import Unavailable

CAPACITY = 10_000


class Subscription:
    """An async iterator of events. Raises `Unavailable` after ``CAPACITY`` events that nobody has read."""

    def __init__(self, left: Callable[[Subscription], None]) -> None:
        self._left = left
        self._events: deque[Any] = deque()
        self._ready = asyncio.Event()
        self._ended = False
        self._overrun = False

    def put(self, event: Any) -> None:
        if len(self._events) >= CAPACITY:
            self._overrun = True
            self.end()
        else:
            self._events.append(event)
            self._ready.set()

    def end(self) -> None:
        """No more events; what is queued can still be read."""
        self._ended = True
        self._ready.set()
        self._left(self)

    def close(self) -> None:
        """Stop listening."""
        self._events.clear()
        self.end()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Any:
        while not self._events:
            if self._overrun:
                raise Unavailable(
                    f"More than {CAPACITY} events have not been read: the subscription ends.", limit=CAPACITY
                )
            if self._ended:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._events.popleft()
