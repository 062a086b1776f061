"""Rate limits inside the process."""

from __future__ import annotations

from chat_common.clock import Clock


class Rates:
    """GCRA: a key may make ``limit`` requests at once, and one more every ``period / limit`` seconds. A dear request
    counts as several: as ``cost``, or as all that there is where it costs more than ``limit``.

    Bounded: with more than ``entries`` keys the one that was counted longest ago is forgotten.
    """

    __slots__ = ("_clock", "_due", "_entries")

    def __init__(self, clock: Clock, entries: int = 100_000) -> None:
        self._clock = clock
        self._entries = entries
        self._due: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._due)

    def allow(self, key: str, limit: int, period: float, cost: int = 1) -> float:
        """0.0: allowed and counted; else the seconds to wait, and nothing is counted."""
        now = self._clock.monotonic()
        due = max(now, self._due.pop(key, now))
        later = due + period * min(cost, limit) / limit
        # Half a thousandth of a step forgives what floats lose when a full bucket is counted down to its end.
        if later - now > period * (1 + 0.0005 / limit):
            self._due[key] = due
            return later - now - period
        self._due[key] = later
        if len(self._due) > self._entries:
            del self._due[next(iter(self._due))]
        return 0.0
