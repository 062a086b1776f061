"""A version never passes over a hole."""

from __future__ import annotations

from chat_common.protocol.versions import VersionTracker
from hypothesis import given
from hypothesis import strategies as st


def test_out_of_order_numbers_wait() -> None:
    tracker = VersionTracker(5)
    for version, held in ((7, 5), (8, 5), (6, 8), (0, 8), (3, 8), (10, 8)):
        tracker.pushed(version)
        assert tracker.version == held
    assert tracker.waiting == 1
    tracker.synced(9)
    assert (tracker.version, tracker.waiting) == (10, 0)
    tracker.synced(4)
    assert tracker.version == 10


def test_what_waits_is_bounded_and_forgetting_leaves_a_hole() -> None:
    tracker = VersionTracker(0, limit=3)
    for version in (2, 3, 4, 5):
        tracker.pushed(version)
    assert tracker.waiting == 3
    tracker.pushed(1)
    assert tracker.version == 4


@given(st.lists(st.tuples(st.sampled_from(["pushed", "synced"]), st.integers(0, 30)), max_size=60), st.integers(1, 8))
def test_it_equals_the_plain_set(steps: list[tuple[str, int]], limit: int) -> None:
    tracker = VersionTracker(limit=limit)
    seen: set[int] = set()
    base = 0
    for step, version in steps:
        before = tracker.version
        if step == "pushed":
            tracker.pushed(version)
            seen.add(version)
        else:
            tracker.synced(version)
            base = max(base, version)
        reach = base
        while reach + 1 in seen:
            reach += 1
        assert before <= tracker.version <= max(reach, before)
        assert tracker.version >= base
        assert tracker.waiting <= limit
        if len(seen) <= limit:
            assert tracker.version == max(reach, before)
