"""What a list finds in a text, and where."""

from __future__ import annotations

import pytest
from chat_server.moderation.folding import fold
from chat_server.moderation.matcher import MOST, Matcher, WrongEntry
from hypothesis import given, settings
from hypothesis import strategies as st


def found(entries: list[str], text: str) -> list[str]:
    return [text[first:last] for first, last in Matcher(entries).spans(fold(text))]


@pytest.mark.parametrize(
    ("entry", "text", "wanted"),
    [
        ("ass", "You Ass!", ["Ass"]),
        ("ass", "a classic massage, assume", []),
        ("*ass*", "a classic", ["ass"]),
        ("ass*", "assume, class", ["ass"]),
        ("*ass", "class, assume", ["ass"]),
        ("ass", "Áś\u200bS", ["Áś\u200bS"]),
        ("ass", "你ass好", ["ass"]),
        ("坏话", "他说坏\u200b话了", ["坏\u200b话"]),
        ("bad word", "a Bad Word.", ["Bad Word"]),
        ("ﬁsh", "FISH and fish", ["FISH", "fish"]),
        ("fi", "ﬁ", ["ﬁ"]),
        ("c++", "I like C++.", ["C++"]),
        ("か", "が", []),
        ("a", "aaa a", ["a"]),
    ],
)
def test_an_entry_is_a_whole_word_unless_it_says_otherwise(entry: str, text: str, wanted: list[str]) -> None:
    assert found([entry], text) == wanted
    assert Matcher([entry]).finds(fold(text)) == bool(wanted)


def test_a_longer_entry_that_is_no_word_here_hides_no_shorter_one() -> None:
    assert found(["bad", "bad egg"], "bad eggs") == ["bad"]
    assert found(["bad", "bad egg"], "a bad egg") == ["bad egg"]


def test_of_two_writings_of_an_entry_the_wider_one_counts() -> None:
    assert found(["ass", "*ASS*"], "classic") == ["ass"]


def test_overlapping_matches_are_one_range() -> None:
    assert found(["*abc*", "*cde*"], "xabcdex") == ["abcde"]


@pytest.mark.parametrize("entry", ["", "  ", "*", "**", "\u200b", "* \u00ad *", "x" * (MOST + 1)])
def test_an_entry_that_matches_nothing_or_everything_is_wrong(entry: str) -> None:
    with pytest.raises(WrongEntry):
        Matcher.check(entry)


def test_a_list_without_entries_finds_nothing() -> None:
    assert not Matcher([]).finds(fold("anything"))


@settings(deadline=None)
@given(st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=5), st.text("abcä ", max_size=40))
def test_it_finds_what_looking_for_each_word_finds(words: list[str], text: str) -> None:
    said = fold(text).text
    covered = set()
    for word in words:
        for place in range(len(said) - len(word) + 1):
            if said.startswith(word, place):
                covered |= set(range(place, place + len(word)))
    spans = Matcher(f"*{word}*" for word in words).spans(fold(text))
    assert {place for first, last in spans for place in range(first, last)} == covered


def test_what_is_found_grows_with_the_text_and_not_faster() -> None:
    """The worst list for a text of one letter: an entry of every length, each ending at every place."""
    matcher = Matcher(f"*{'a' * length}*" for length in range(1, MOST + 1))
    counts = [len(matcher._found(fold("a" * size))) for size in (2_000, 4_000)]
    assert 0 < counts[1] <= 2.05 * counts[0]
    assert counts[1] <= MOST * 4_000
    assert matcher.spans(fold("a" * 4_000)) == [(0, 4_000)]
