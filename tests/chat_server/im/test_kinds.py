"""What the bodies of the built-in kinds may hold."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from chat_common.errors import Invalid
from chat_server.im.kinds import BUILT_IN, Kinds

KINDS = Kinds({kind.name: kind for kind in BUILT_IN})
MENTION = {"type": "mention", "offset": 0, "length": 4, "user": "ann"}


def stored(body: dict[str, Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(KINDS.read("text", body)[1]))


def test_a_text_keeps_its_format_and_where_it_names_people() -> None:
    body = {"text": "@Ann **now**", "format": "markup", "entities": [MENTION]}
    assert stored(body) == body
    assert stored({"text": "plain"}) == {"text": "plain"}
    assert stored({"text": "plain", "colour": "red", "format": None}) == {"text": "plain"}


def test_a_preview_has_no_marks_where_they_are_marks() -> None:
    assert KINDS.preview("text", {"text": "**now**", "format": "markup"}) == "now"
    assert KINDS.preview("text", {"text": "**now**"}) == "**now**"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format": "html"}, "body.format"),
        ({"entities": [{**MENTION, "type": "link"}]}, "body.entities"),
        ({"entities": [{**MENTION, "offset": -1}]}, "body.entities"),
        ({"entities": [{**MENTION, "length": 0}]}, "body.entities"),
        ({"entities": [{**MENTION, "user": ""}]}, "body.entities"),
        ({"entities": [MENTION] * 51}, "body.entities"),
    ],
)
def test_what_is_no_format_or_range_is_refused_by_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        KINDS.read("text", {"text": "@Ann", **change})
    assert (refused.value.field or "").startswith(field)


def test_search_finds_what_a_kind_says_it_may() -> None:
    assert KINDS.searchable("text", {"text": "**now**", "format": "markup"}) == "now"
    assert KINDS.searchable("text", {"words": "of an older shape"}) is None
    assert KINDS.searchable("system", {"event": "group.left"}) is None
    assert KINDS.searchable("gone", {}) is None
