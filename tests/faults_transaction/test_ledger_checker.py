"""A checker that says "nothing lost" is itself tested: each planted defect is found."""

from __future__ import annotations

import pytest

from tests.faults_transaction.ledger import Ledger

SAID = [(key, number) for key in ("a", "b") for number in range(5)]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda rows: rows, None),
        (lambda rows: rows[:2] + rows[3:], "lost [2]"),
        (lambda rows: [*rows[:3], rows[2], *rows[3:]], "doubled [2]"),
        (lambda rows: [rows[1], rows[0], *rows[2:]], "out of order"),
        (lambda rows: [*rows, ("a", 9)], "never committed [9]"),
        (lambda rows: [], "lost [0, 1, 2, 3, 4]"),
    ],
)
def test_finds_planted_defects(change: object, fault: str | None) -> None:
    assert callable(change)
    faults = Ledger(SAID, {"books": SAID, "mail": change(SAID)}).faults()
    if fault is None:
        assert faults == []
    else:
        assert faults
        assert all(line.startswith("mail ") for line in faults)
        assert any(fault in line for line in faults)
