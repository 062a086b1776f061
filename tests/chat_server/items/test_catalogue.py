"""The catalogue: whose items count, and what is no item."""

from __future__ import annotations

from typing import Any

import pytest
from chat_common.records import CatalogueItem
from chat_common.settings import SetupError
from chat_server.items.catalogue import BUILT_IN, REGISTERED, Catalogue

BADGE = {"kind": "badge", "name": {"en": "Early"}}


def gives(when: str, number: int) -> int:
    entry = {**BADGE, "grant": {"on": REGISTERED, "when": when}}
    return Catalogue([], {"early": entry}).entries["early"].given_at(REGISTERED, number)


@pytest.mark.parametrize(
    ("when", "given"),
    [("", {1, 10, 11}), ("number <= 10", {1, 10}), ("number > 1 and number < 11", {10}), ("number == 11", {11})],
)
def test_a_grant_waits_for_its_comparisons(when: str, given: set[int]) -> None:
    assert {number for number in (1, 10, 11) if gives(when, number)} == given


def test_settings_stand_in_place_of_plugins() -> None:
    plugged = [*BUILT_IN, CatalogueItem("beta", "badge", {"en": "Beta"})]
    found = Catalogue(plugged, {"first_ten": {"kind": "badge", "name": "Pioneer"}})
    assert found.entries["first_ten"].badge().name == "Pioneer"
    assert found.entries["first_ten"].given_at(REGISTERED, 1) == 0
    assert found.entries["beta"].record.kind == "badge"


@pytest.mark.parametrize(
    ("name", "entry", "said"),
    [
        ("a b", BADGE, "letters"),
        ("x" * 41, BADGE, "1 to 40"),
        ("x", {**BADGE, "kind": "coin"}, "coin"),
        ("x", {"kind": "badge"}, "names"),
        ("x", {"kind": "badge", "name": {}}, "name"),
        ("x", {**BADGE, "colour": "red"}, "colour"),
        ("x", {**BADGE, "grant": {"on": "message"}}, "grant.on|user.registered"),
        ("x", {**BADGE, "grant": {"on": REGISTERED, "when": "__import__('os')"}}, "comparison"),
        ("x", {**BADGE, "grant": {"on": REGISTERED, "count": 2}}, "count"),
        ("x", {**BADGE, "grant": {"on": REGISTERED, "wen": ""}}, "wen"),
    ],
)
def test_what_is_no_item_stops_the_start_and_is_named(name: str, entry: dict[str, Any], said: str) -> None:
    with pytest.raises(SetupError, match=said) as refused:
        Catalogue([], {name: entry})
    assert name in str(refused.value)
