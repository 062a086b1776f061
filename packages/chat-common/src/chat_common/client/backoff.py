"""How long to wait before the next try, so that a thousand clients do not come back in the same moment."""

from __future__ import annotations

import random

from attrs import define, field

from chat_common.backoff import ceiling


@define
class Backoff:
    """Full jitter: after n failures in a row a random time below ``first`` · 2ⁿ, at most ``longest`` (seconds)."""

    first: float = 0.5
    longest: float = 30.0
    random: random.Random = field(factory=random.Random)
    failures: int = 0

    def next(self) -> float:
        """The pause before the next try; counts it as a failure until `reset`."""
        self.failures += 1
        return self.random.uniform(0, ceiling(self.failures, self.first, self.longest))

    def reset(self) -> None:
        self.failures = 0
