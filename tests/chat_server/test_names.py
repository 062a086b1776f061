"""One rule for all names, one emoji for a reaction."""

from __future__ import annotations

import pytest
from chat_common.errors import Invalid
from chat_server.names import RESERVED, cleaned, display_name, folded, one_emoji, parts
from chat_server.names.handles import NameRules

RULES = NameRules.of((), RESERVED)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Ada", "Ada"),
        ("  Ada   Love ", "Ada Love"),
        ("Zoe\u0301", "Zoé"),
        ("王小明", "王小明"),
        ("محمد", "محمد"),
        ("O'Neil (work)", "O'Neil (work)"),
        ("Climbing club 🧗", "Climbing club 🧗"),
        ("❤\ufe0f family 👨\u200d👩\u200d👧", "❤\ufe0f family 👨\u200d👩\u200d👧"),
        ("x" * 64, "x" * 64),
    ],
)
def test_a_name_is_kept_in_one_form(given: str, kept: str) -> None:
    assert display_name(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        "",
        "   ",
        "\u3000",
        "x" * 65,
        "a\nb",
        "a\tb",
        "a\x07b",
        "Zo\u200bé",  # zero width space
        "Zo\u00adé",  # soft hyphen
        "Zo\u2060é",  # word joiner
        "Z\u043e\u00e9",  # a Cyrillic letter
        "\u202eevil",  # right-to-left override
        "a\u2066b\u2069",
        "\u3164",  # a blank Hangul letter
        "\u2800",  # a blank Braille pattern
        "a" + "\u0301" * 9,
        "Admin",
        "SYSTEM",
        "Ádmin",
        "adrnin",
    ],
)
def test_what_deceives_or_is_not_seen_may_not_stand_in_a_name(given: str) -> None:
    with pytest.raises(Invalid) as refused:
        RULES.display(given)
    assert refused.value.field == "name"
    assert refused.value.reason is not None


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Ada\u200b", "Ada"),
        ("a\nb", "ab"),
        ("\u202eevil", "evil"),
        ("\u200b", "user"),
        ("", "user"),
        ("x" * 99, "x" * 64),
    ],
)
def test_a_name_that_somebody_else_vouches_for_is_cleaned(given: str, kept: str) -> None:
    assert cleaned(given) == kept


def test_search_begins_at_each_word_and_each_cjk_character() -> None:
    assert folded("José  María") == "jose maria"
    assert parts("José María") == ["jose maria", "maria"]
    assert set(parts("王小明")) == {"王小明", "小明", "明"}
    assert set(parts("김철수")) == {"김철수", "철수", "수"}
    assert parts("🧗") == ["🧗"]


def test_a_reaction_is_one_emoji_in_one_form() -> None:
    assert one_emoji("❤") == one_emoji("❤\ufe0f") == "❤\ufe0f"
    assert one_emoji("👍🏽") == "👍🏽"
    for given in ("x", "👍👍", "👍x", "", "1", "<b>", "\ufe0f"):
        with pytest.raises(Invalid):
            one_emoji(given)
