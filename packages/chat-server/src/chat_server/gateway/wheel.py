"""One timer for all sessions of a node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from chat_common.clock import Clock


class Item(Protocol):
    slot: int
    """Where it stands; the wheel's own."""


T = TypeVar("T", bound=Item)


class Wheel(Generic[T]):
    """Calls ``due(item, now)`` for each item when its time has come, at most ``grain`` seconds late; what that returns
    is when to call again, None: never. An item stands in one slot: added again, it is called at the new time alone.
    """

    def __init__(self, clock: Clock, grain: float, due: Callable[[T, float], float | None]) -> None:
        self._clock = clock
        self._grain = grain
        self._due = due
        self._slots: dict[int, list[T]] = {}
        self._next = self._slot(clock.monotonic())
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: T, at: float) -> None:
        item.slot = slot = max(self._slot(at) + 1, self._next)
        self._slots.setdefault(slot, []).append(item)

    def turn(self) -> None:
        """Do all that is due by now."""
        now = self._clock.monotonic()
        last = self._slot(now)
        while self._next <= last:
            slot = self._next
            self._next += 1
            for item in self._slots.pop(slot, ()):
                if item.slot != slot:
                    continue
                at = self._due(item, now)
                if at is not None:
                    self.add(item, at)

    def start(self) -> None:
        """Turn by the running loop's time, until `stop`."""
        self._timer = asyncio.get_running_loop().call_later(self._grain, self._again)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _again(self) -> None:
        self.start()
        self.turn()

    def _slot(self, at: float) -> int:
        return int(at / self._grain)
