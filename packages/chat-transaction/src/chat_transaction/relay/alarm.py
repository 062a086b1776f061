"""One timer for many times: it rings at the earliest of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chat_common.clock import Clock


class Alarm:
    """``ring`` is called once at the earliest time that was set; who set later ones must set them again."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._set: tuple[int, asyncio.TimerHandle] | None = None

    def at(self, wall_ms: int) -> None:
        """Ring then (ms since 1970), or now if that is over."""
        if self._set is not None:
            if self._set[0] <= wall_ms:
                return
            self._set[1].cancel()
        left = max(0.0, (wall_ms - self._clock.wall_ms()) / 1000)
        self._set = wall_ms, asyncio.get_running_loop().call_later(left, self._come)

    def off(self) -> None:
        if self._set is not None:
            self._set[1].cancel()
            self._set = None

    def _come(self) -> None:
        self._set = None
        self._ring()
