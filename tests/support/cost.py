"""What something costs as it grows, compared with itself: so that no test asks how fast the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

FLOOR = 10e-6
"""Seconds below which a measurement is only the clock's."""


def growth(work: Callable[[Any], object], small: Any, large: Any, *, tries: int = 4) -> float:
    """How many times as long ``large`` takes as ``small``: the best of several tries, since a disturbance only adds."""
    return min(_cost(work, large) / max(_cost(work, small), FLOOR) for _ in range(tries))


def _cost(work: Callable[[Any], object], value: Any) -> float:
    began = time.thread_time()
    work(value)
    return time.thread_time() - began
