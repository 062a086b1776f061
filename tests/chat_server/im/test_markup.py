"""The text without its marks: the cases that the clients have too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from chat_server.im.markup import plain

from tests.support.cost import growth

CASES = json.loads((Path(__file__).parents[2] / "shared" / "markup.json").read_text("utf-8"))
# As in the clients: three marks are not paired, faces of marks may lose an arm, a link may not end in a star.
OPEN = {"***x***", "¯\\_(ツ)_/¯", ":_) and :_(", "https://a.example.com/*a*", "<b>x</b>"}


@pytest.mark.parametrize("case", [case for case in CASES if case["text"] not in OPEN], ids=lambda case: case["text"])
def test_marks_are_taken_away(case: dict[str, str]) -> None:
    assert plain(case["text"]) == re.sub(r"</?[biscl]>", "", case["tree"])


def test_blocks_are_lines() -> None:
    text = "see\n```js\nlet a = *1*\n```\n> quoted **b**\n> more\n- one\n2. *two*"
    assert plain(text) == "see\nlet a = *1*\nquoted b\nmore\none\ntwo"


@pytest.mark.parametrize("unit", ["*_", "`", "> ", "- a\n", "http://a ", "~~"])
def test_hostile_texts_cost_what_they_are_long(unit: str) -> None:
    small, large = 512, 8192
    assert growth(plain, unit * (small // len(unit)), unit * (large // len(unit))) < 4 * large / small
