"""Login names: what they are written in, which one goes with a name, and which nobody may take."""

from __future__ import annotations

import itertools

import pytest
from chat_server.names import RESERVED, BadName
from chat_server.names.confusables import skeleton
from chat_server.names.handles import MOST, NameRules, typed

PLAIN = NameRules.of((), RESERVED)
WIDE = NameRules.of(("latin", "cyrillic", "han"), RESERVED)


@pytest.mark.parametrize(
    ("given", "plain", "wide"),
    [
        ("Ada", "ada", "ada"),
        ("ADA", "ada", "ada"),
        ("Ada Lovelace", "ada.lovelace", "ada.lovelace"),
        ("Zoé", "zoe", "zoé"),
        ("王小明", "wangxiaoming", "王小明"),
        ("Анна", "anna", "анна"),
        ("Anna Каренина", "anna.karenina", "anna.karenina"),  # not mixed in one handle
        ("\uff21\uff24\uff21", "ada", "ada"),
        ("O'Neil (work)", "o.neil.work", "o.neil.work"),
        ("test_1-2", "test_1-2", "test_1-2"),
        ("a", "a1", "a1"),
        ("-x-", "x1", "x1"),
        ("x" * 64, "x" * MOST, "x" * MOST),
        ("👍", "", ""),
    ],
)
def test_a_name_has_one_handle_that_goes_with_it(given: str, plain: str, wide: str) -> None:
    assert (PLAIN.derived(given), WIDE.derived(given)) == (plain, wide)
    for rules, handle in ((PLAIN, plain), (WIDE, wide)):
        if handle:
            assert rules.checked(handle) == rules.derived(handle) == handle, "typed as it is, it stays so"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("a", "short"),
        ("x" * 33, "long"),
        ("a b", "characters"),
        ("", "characters"),
        (".ada", "characters"),
        ("zoé", "characters"),
        ("ad\u200ba", "characters"),  # zero width space
        ("a\u00adda", "characters"),  # soft hyphen
        ("\u0430da", "characters"),  # a Cyrillic letter
        ("a\u202eda", "characters"),
        ("👍👍", "characters"),
        ("admin", "reserved"),
        ("ADMIN", "reserved"),
        ("adrnin", "reserved"),
        ("r00t", "reserved"),
        ("all", "reserved"),
    ],
)
def test_a_chosen_handle_is_refused_with_its_reason(given: str, reason: str) -> None:
    with pytest.raises(BadName) as refused:
        PLAIN.checked(given)
    assert (refused.value.reason, refused.value.field) == (reason, "handle")


def test_allowed_scripts_are_not_mixed_in_one_handle() -> None:
    with pytest.raises(BadName) as refused:
        WIDE.checked("\u0430da")
    assert refused.value.reason == "mixed"
    assert WIDE.checked("ZOE\u0301") == "zoé"
    assert skeleton(WIDE.checked("\u0441\u043e\u0441\u043e")) == skeleton(WIDE.checked("coco"))


def test_an_operator_reserves_names_of_his_own() -> None:
    rules = NameRules.of((), ["Acme"])
    assert rules.checked("admin") == "admin"
    for taken in ("acme", "ACME", "Acmé"):
        assert rules.is_reserved(taken)
    with pytest.raises(BadName):
        rules.display("ACME")


def test_who_has_chosen_none_gets_the_nearest_that_nobody_reserved() -> None:
    assert list(itertools.islice(PLAIN.candidates("Ada"), 3)) == ["ada", "ada2", "ada3"]
    assert next(PLAIN.candidates("Admin")) == "admin2"
    assert next(PLAIN.candidates("👍")) == "user2"
    many = list(itertools.islice(PLAIN.candidates("x" * 64), 100))
    assert len(set(many)) == 100
    assert [PLAIN.checked(each) for each in many] == many


def test_a_handle_is_read_with_an_at_sign_or_without() -> None:
    assert typed(" @Ada ") == typed("\uff21da") == "ada"
