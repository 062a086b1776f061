"""Every rule of the threat model names its settings and its tests, and these are there."""

from __future__ import annotations

import re

import pytest

from tests.house.tree import ROOT

PAGE = (ROOT / "docs" / "threat-model.md").read_text("utf-8").partition("## Every rule")[2].partition("\n## ")[0]
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| what holds |")]
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def clause(row: str) -> str:
    return row.split(" | ")[0].removeprefix("| ")


def test_the_page_has_its_table() -> None:
    assert len(ROWS) > 50
    assert len({clause(row) for row in ROWS}) == len(ROWS), "a rule stands there twice"


@pytest.mark.parametrize("row", ROWS, ids=clause)
def test_a_rule_is_shown_by_tests_that_are_there(row: str) -> None:
    _, setting, shown = row.strip("| ").split("|")
    found = TEST.findall(shown)
    assert found, "no test shows it"
    assert len(found) == shown.count("`") // 2, "what is named must be FILE::TEST"
    for path, name in found:
        text = (ROOT / "tests" / path).read_text("utf-8")
        assert re.search(rf"^(?:async )?def {name}\(", text, re.MULTILINE), f"tests/{path} has no {name}"
    known = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")
    for name in re.findall(r"`([\w.]+)`", setting):
        assert f"`CHAT__{name.upper().replace('.', '__')}`" in known, f"there is no setting {name}"
