"""Rate limits: a burst at once, then one by one, and a bounded memory."""

from __future__ import annotations

import pytest
from chat_common.clock import ManualClock
from chat_common.memory.rates import Rates


def test_a_burst_at_once_then_one_each_step() -> None:
    clock = ManualClock()
    rates = Rates(clock)
    assert [rates.allow("ann", 5, 10.0) for _ in range(5)] == [0.0] * 5
    assert rates.allow("ann", 5, 10.0) == pytest.approx(2.0)
    clock.advance(1.0)
    assert rates.allow("ann", 5, 10.0) == pytest.approx(1.0)  # asking too early costs nothing
    clock.advance(1.0)
    assert rates.allow("ann", 5, 10.0) == 0.0
    assert rates.allow("ann", 5, 10.0) == pytest.approx(2.0)
    assert rates.allow("bob", 5, 10.0) == 0.0


@pytest.mark.parametrize("limit", [1, 3, 7, 60])
def test_in_the_long_run_the_rate_is_kept(limit: int) -> None:
    clock = ManualClock()
    rates = Rates(clock)
    allowed = 0
    for _ in range(200 * limit):
        allowed += rates.allow("ann", limit, 10.0) == 0.0
        clock.advance(10.0 / limit / 2)
    assert 100 * limit <= allowed <= 101 * limit + 1


def test_the_one_that_was_counted_longest_ago_is_forgotten() -> None:
    rates = Rates(ManualClock(), entries=2)
    for name in ("ann", "bob", "ann", "eve"):
        rates.allow(name, 2, 10.0)
    assert len(rates) == 2
    assert rates.allow("ann", 2, 10.0) > 0  # still known
    assert rates.allow("bob", 2, 10.0) == 0.0
