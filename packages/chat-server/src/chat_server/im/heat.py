"""When a conversation is hot: a pure policy, asked with numbers and answered with a decision."""

from __future__ import annotations

import math

from attrs import define
from chat_common.settings import setting

PERIOD = 10.0
"""Seconds over which messages are averaged."""
COOLER = 0.8
CALMER = 0.3
"""A hot conversation turns normal below these shares of the limits, so that it does not turn back and forth."""


@define(kw_only=True)
class FanoutSettings:
    hot_members: int = setting(500, help="A group with more members is hot: its list entry is read, not written.")
    hot_deliveries: float = setting(
        5000.0, help="A group with more deliveries a second (messages times members, over 10 s) is hot too."
    )
    push_delay: float = setting(10.0, help="How long an unacknowledged message waits before an offline push, in s.")


@define
class Load:
    """Changes a second, averaged; fades while nothing comes."""

    rate: float = 0.0
    at: float = 0.0

    def add(self, changes: int, now: float) -> None:
        """``now``: seconds of a clock that never goes back."""
        faded = math.exp(-(now - self.at) / PERIOD) if self.at else 0.0
        self.rate = self.rate * faded + changes / PERIOD
        self.at = now


def is_hot(hot: bool, kind: str, members: int, rate: float, limits: FanoutSettings) -> bool:
    """Whether a conversation that is (not) hot should be from now on. Direct chats never are."""
    if kind == "direct":
        return False
    deliveries = rate * members
    if hot:
        return members > COOLER * limits.hot_members or deliveries >= CALMER * limits.hot_deliveries
    return members > limits.hot_members or deliveries > limits.hot_deliveries
