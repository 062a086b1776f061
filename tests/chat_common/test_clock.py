"""A clock that a test holds."""

from __future__ import annotations

import pytest
from chat_common.clock import ManualClock, SystemClock


def test_a_manual_clock_moves_both_readings_when_told_to_and_never_back() -> None:
    clock = ManualClock(10.0, 5_000)
    assert (clock.monotonic(), clock.wall_ms()) == (10.0, 5_000)
    clock.advance(1.5)
    assert (clock.monotonic(), clock.wall_ms()) == (11.5, 6_500)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-0.1)
    assert clock.monotonic() == 11.5


def test_the_machines_clock_goes_on() -> None:
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.wall_ms() > 1_700_000_000_000
