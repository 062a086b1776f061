"""When a conversation is hot: numbers in, a decision out."""

from __future__ import annotations

import pytest
from chat_server.im.heat import FanoutSettings, Load, is_hot

LIMITS = FanoutSettings(hot_members=100, hot_deliveries=1_000.0)


@pytest.mark.parametrize(
    ("hot", "members", "rate", "wanted"),
    [
        (False, 100, 0.0, False),
        (False, 101, 0.0, True),
        (True, 81, 0.0, True),
        (True, 80, 0.0, False),
        (False, 50, 20.0, False),
        (False, 50, 20.1, True),
        (True, 50, 6.0, True),
        (True, 50, 5.9, False),
    ],
)
def test_by_members_and_by_deliveries_with_hysteresis(hot: bool, members: int, rate: float, wanted: bool) -> None:
    assert is_hot(hot, "group", members, rate, LIMITS) is wanted
    assert not is_hot(hot, "direct", members, rate, LIMITS)


def test_load_is_averaged_and_fades() -> None:
    load = Load()
    for second in range(1, 101):
        load.add(5, float(second))
    assert load.rate == pytest.approx(5, rel=0.1)
    load.add(0, 200.0)
    assert load.rate < 0.01
