"""How long to wait before the next attempt: the one place that says so."""

from __future__ import annotations

import random


def ceiling(attempt: int, first: float, cap: float) -> float:
    """Seconds after failure number ``attempt`` (from 1): doubling from ``first`` up to ``cap``, without chance."""
    return min(cap, first * 2.0 ** min(attempt - 1, 30))


def pause(attempt: int, first: float, cap: float) -> float:
    """The same, half of it random, so that those who failed together do not come back together."""
    return ceiling(attempt, first, cap) * (0.5 + random.random() / 2)
