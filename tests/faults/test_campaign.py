"""The campaign's plan, its journal, and its page."""

from __future__ import annotations

import json
from pathlib import Path

from tests.faults.campaign import FIRST_SEED, NOTORIOUS, planned, report_of, rows_of


def row(name: str, seed: int, late: float, findings: list[str]) -> dict[str, object]:
    totals = {"kills": 10, "sent": 100, "told": 900, "gaps": 0, "load": 1.0}
    return {
        "code": "abc",
        "name": name,
        "seed": seed,
        "late": late,
        "at": "then",
        "commit": "c",
        "findings": findings,
    } | totals


def test_the_plan_has_each_seed_once_and_the_notorious_one_again_and_again() -> None:
    plan = list(planned(200, 40, None))
    assert len({entry.name for entry in plan}) == 240
    assert sum(entry.seed == NOTORIOUS for entry in plan) == 40
    assert sum(entry.late > 0 for entry in plan) == 120
    assert {entry.late for entry in planned(3, 2, 0.5)} == {0.5}


def test_a_part_goes_on_with_rows_of_the_same_code_and_survives_a_torn_line(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    assert rows_of(journal, ["abc"]) == []
    mine, other = row("1000/0/0", 1000, 0.0, []), {**row("1001/0/0", 1001, 0.0, []), "code": "other"}
    journal.write_text(json.dumps(mine) + "\n" + json.dumps(other) + "\n" + '{"code": "ab')
    assert rows_of(journal, ["abc"]) == [mine]
    assert rows_of(journal, ["other", "abc"]) == [mine, other]


def test_the_page_names_what_was_found_and_what_was_not_run() -> None:
    plan = list(planned(2, 2, None))
    rows = [
        row(plan[0].name, FIRST_SEED, 0.0, []),
        row(plan[1].name, FIRST_SEED + 1, 0.06, ["lost: p1 never saw x/[3]"]),
    ]
    page = report_of(rows, plan, ["old", "abc"])
    assert "`old`: 0 runs" in page
    assert "`abc`: 2 runs, commits c" in page
    assert "2 planned runs were not made" in page
    assert "| different seeds, answers up to 60 ms late | 1 | 1 | 1 | 10 | 100 | 900 | 0 |" in page
    assert "lost: p1 never saw x/[3]" in page
    assert "All planned runs were made" in report_of(
        [row(entry.name, entry.seed, 0, []) for entry in plan], plan, ["abc"]
    )
