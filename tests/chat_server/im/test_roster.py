"""The cache of rosters weighs what it holds, however rosters grow and shrink while they are in it."""

from __future__ import annotations

from chat_server.im.roster import Roster, Rosters


def roster(name: str, members: int) -> Roster:
    return Roster("e1", name, 1, 1, False, members, "group", {f"u{number}": [[1]] for number in range(members)})


def test_its_weight_does_not_drift() -> None:
    rosters = Rosters(most_members=1_000)
    for number in range(40):
        one = roster(f"c{number}", 400)
        rosters.put(one)
        one.spans = None  # It has turned hot.
        rosters.put(one)
    assert rosters.held == 40
    kept = roster("kept", 400)
    rosters.put(kept)
    assert rosters.get("kept") is kept
    assert rosters.held == 441


def test_the_least_recently_used_are_forgotten_and_one_too_large_is_not_kept() -> None:
    rosters = Rosters(most_members=1_000)
    for name in ("a", "b", "c"):
        rosters.put(roster(name, 400))
    assert rosters.get("a") is None
    assert rosters.get("c") is not None
    rosters.put(roster("huge", 2_000))
    assert rosters.get("huge") is None
    assert rosters.held <= 1_000
