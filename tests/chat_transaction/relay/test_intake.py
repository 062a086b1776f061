from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chat_common.ports.broker import BrokerRecord
from chat_transaction.relay.in_flight import InFlight
from chat_transaction.relay.intake import Intake
from chat_transaction.relay.reader import Pass
from chat_transaction.sql.outbox import OutboxRow
from chat_transaction.sql.queries import Scan

QUICK, FULL = Pass(False, 7, 7, 0), Pass(True, 0, 7, 0)


class Groups:
    def __init__(self) -> None:
        self.running = {"orders": frozenset({"g"}), "paper": frozenset({"g"})}
        self.single = frozenset(self.running)


class Ownership:
    def __init__(self) -> None:
        self.open = {0: 1}


class Desk:
    """An intake over rows of one shard; `capacity` rows of a topic may be in flight."""

    def __init__(self, capacity: int = 4) -> None:
        self.failing: dict[tuple[str, str], int] = {}
        self.woken: list[int] = []
        self.in_flight = InFlight(capacity, lambda: None, lambda topic: None)
        groups: Any = Groups()
        ownership: Any = Ownership()
        self.intake = Intake(self.in_flight, ownership, groups, self.failing, self.woken.append)

    def give(self, rows: Iterable[OutboxRow], *, scanned: bool = False) -> list[int]:
        """The numbers of those that went."""
        gone = []
        for row in rows:
            if self.intake.admits(row, scanned=scanned):
                self.in_flight.add(row)
                gone.append(row.id)
        return gone

    def begin(self, scan: Pass) -> Scan:
        return self.intake.begin(scan, now=0, limit=100, heads=False)


def rows(*numbers: int, topic: str = "orders", key: str = "k", shard: int = 0, due: int = 0) -> list[OutboxRow]:
    return [OutboxRow(number, shard, due, BrokerRecord(topic, key, b"", f"u{number}")) for number in numbers]


def test_what_is_not_ours_or_known_or_not_due_does_not_go() -> None:
    desk = Desk()
    assert desk.give(rows(1, shard=5)) == []
    assert desk.give(rows(2, topic="never")) == []
    assert desk.give(rows(3, due=1_000)) == []
    assert desk.woken == [1_000]
    assert desk.give(rows(3, due=1_000), scanned=True) == [3]
    assert desk.give(rows(3)) == []


def test_after_a_full_topic_nothing_reported_goes_before_a_full_pass() -> None:
    desk = Desk(capacity=4)
    assert desk.give(rows(1, 2, 3, 4, 5)) == [1, 2, 3, 4]
    assert "orders" not in desk.begin(FULL).topics, "there is no room for what it would bring"
    assert not desk.intake.end()
    desk.in_flight.remove("u1")
    desk.in_flight.remove("u2")
    assert desk.give(rows(6)) == [], "the fifth comes first"
    assert "orders" not in desk.begin(QUICK).topics, "it begins above the fifth"
    assert "orders" in desk.begin(FULL).topics
    assert desk.give(rows(5), scanned=True) == [5]
    assert not desk.intake.end()
    assert desk.give(rows(7)) == [7]
    assert desk.give(rows(8, topic="paper")) == [8], "other topics have room of their own"


def test_a_row_that_is_left_while_a_full_pass_runs_needs_another_one() -> None:
    desk = Desk(capacity=4)
    desk.give(rows(1, 2, 3, 4, 5))
    desk.in_flight.remove("u1")
    desk.in_flight.remove("u2")
    desk.begin(FULL)
    assert desk.give(rows(6)) == []
    assert desk.give(rows(5), scanned=True) == [5]
    assert desk.intake.end(), "the sixth may be missing in the snapshot"


def test_a_failing_key_leaves_room_for_the_others() -> None:
    desk = Desk(capacity=10_000)
    desk.failing["orders", "bad"] = 199
    assert desk.give(rows(1, 2, key="bad")) == [1]
    assert desk.give(rows(3)) == [3]
    assert desk.begin(FULL).excluded == (("orders", "bad"),)
    assert not desk.intake.end()
    del desk.failing["orders", "bad"]  # it goes on
    assert desk.intake.waits(("orders", "bad"))
    assert desk.give(rows(4, key="bad")) == [], "the second comes first"
    assert desk.begin(FULL).excluded == ()
    assert desk.give(rows(2), scanned=True) == [2]
    assert not desk.intake.end()
    assert desk.give(rows(5, key="bad")) == [5]


def test_a_key_that_is_being_released_waits_for_its_head() -> None:
    desk = Desk()
    desk.intake.release({("orders", "k")})
    assert desk.give(rows(1), scanned=True) == []
    assert desk.give(rows(2, key="other")) == [2]
    desk.begin(FULL)
    desk.intake.release(frozenset())
    assert desk.give(rows(1), scanned=True) == [1]
    assert not desk.intake.end()


def test_a_closed_topic_waits_until_it_is_drained_and_read_in_full() -> None:
    desk = Desk()
    desk.give(rows(5))
    desk.intake.close({"orders"})
    assert desk.give(rows(6)) == []
    assert desk.intake.drained(desk.in_flight.counts) == set()
    desk.in_flight.remove("u5")
    assert desk.intake.drained(desk.in_flight.counts) == {"orders"}
    assert "orders" not in desk.begin(FULL).topics
    desk.intake.end()
    desk.intake.reopen({"orders"})
    assert desk.give(rows(7)) == []
    assert "orders" in desk.begin(FULL).topics
    assert desk.give(rows(2, 6, 7), scanned=True) == [2, 6, 7]
    assert not desk.intake.end()
    assert desk.give(rows(8)) == [8]
