"""How long to wait before the next attempt."""

from __future__ import annotations

import random


def pause(attempt: int, first: float, cap: float) -> float:
    """Seconds after failure number ``attempt`` (from 1): doubling from ``first`` up to ``cap``, half of it random."""
    full: float = min(cap, first * 2 ** min(attempt - 1, 30))
    return full * (0.5 + random.random() / 2)
