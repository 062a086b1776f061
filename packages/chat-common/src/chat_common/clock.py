"""Time as a thing that a test can hold still."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings of time. Both never block; ``monotonic`` never goes back."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start: for intervals, leases and timeouts."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC: for what is stored or shown, never for order."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that moves only when told to."""

    __slots__ = ("_monotonic", "_wall_ms")

    def __init__(self, monotonic: float = 1_000.0, wall_ms: int = 1_800_000_000_000) -> None:
        self._monotonic = monotonic
        self._wall_ms = wall_ms

    def monotonic(self) -> float:
        return self._monotonic

    def wall_ms(self) -> int:
        return self._wall_ms

    def advance(self, seconds: float) -> None:
        """Move both readings on by ``seconds`` (≥ 0)."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._monotonic += seconds
        self._wall_ms += round(seconds * 1000)

    def set_wall(self, wall_ms: int) -> None:
        """Set the time of day alone, as an administrator does who corrects a wrong clock."""
        self._wall_ms = wall_ms
