"""One timer for everybody: nobody is forgotten, nobody is called twice or too early."""

from __future__ import annotations

from chat_common.clock import ManualClock
from chat_server.gateway.wheel import Wheel


class Thing:
    def __init__(self, name: str) -> None:
        self.name = name
        self.slot = 0


def test_items_are_called_when_due_and_again_when_they_say_so() -> None:
    clock = ManualClock(monotonic=100.0)
    called: list[tuple[str, float]] = []

    def due(thing: Thing, now: float) -> float | None:
        called.append((thing.name, now))
        return now + 10 if thing.name == "again" else None

    wheel = Wheel(clock, 0.5, due)
    wheel.add(Thing("once"), 103.0)
    wheel.add(Thing("again"), 101.0)
    for _ in range(60):
        clock.advance(0.5)
        wheel.turn()
    assert [at for name, at in called if name == "once"] == [103.5]
    assert [at for name, at in called if name == "again"] == [101.5, 112.0, 122.5]


def test_added_again_it_is_called_at_the_new_time_alone() -> None:
    clock = ManualClock(monotonic=100.0)
    called: list[float] = []
    wheel: Wheel[Thing] = Wheel(clock, 0.5, lambda thing, now: called.append(now))
    thing = Thing("moved")
    wheel.add(thing, 110.0)
    wheel.add(thing, 102.0)
    for _ in range(60):
        clock.advance(0.5)
        wheel.turn()
    assert called == [102.5]


def test_what_was_due_during_a_standstill_is_made_up_for() -> None:
    clock = ManualClock(monotonic=100.0)
    called: list[str] = []
    wheel: Wheel[Thing] = Wheel(clock, 0.5, lambda thing, now: called.append(thing.name))
    for name, at in (("a", 101.0), ("b", 160.0), ("past", 1.0)):
        wheel.add(Thing(name), at)
    clock.advance(100)
    wheel.turn()
    assert sorted(called) == ["a", "b", "past"]
