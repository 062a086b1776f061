"""How texts and queries are cut, what is found in what, and what of it is marked."""

from __future__ import annotations

import time

import pytest
from chat_server.im.search.links import has_link
from chat_server.im.search.words import indexed, phrases, places, snippet


def found(query: str, text: str) -> str | None:
    """The text with what is found in brackets; None: not found. What is found must stand in the index as it is asked
    for, or the index would not give the text."""
    wanted = phrases(query)
    assert wanted
    marked = places(wanted, text)
    words = f" {' '.join(indexed(text))} "
    given = all(f" {' '.join(one.words)}{'' if one.prefix else ' '}" in words for one in wanted)
    assert given == (marked is not None), (query, text)
    if marked is None:
        return None
    for start, end in reversed(marked):
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return text


CASES = [
    ("blue", "A blue door", "A [blue] door"),
    ("BLU", "A blue door", "A [blu]e door"),
    ("door blue", "A blue door", "A [blue] [door]"),
    ("oor", "A blue door", None),
    ("red", "A blue door", None),
    ("cafe", "Café au lait", "[Café] au lait"),
    ("café", "cafe cafeteria", "[cafe] [cafe]teria"),
    ("cafe", "Cafe\u0301!", "[Cafe\u0301]!"),
    ("strasse", "Straße 5", "[Straße] 5"),
    ("ångström", "ANGSTROM", "[ANGSTROM]"),
    ("łódź", "lodz", "[lodz]"),
    ("don't", "I don't know", "I [don't] know"),
    ("don't", "t don", None),
    ("a", "a cat", "[a] cat"),
    ("c", "a cat", None),
    ("snake_case", "my snake_cases", "my [snake_case]s"),
    ("example.com/x", "see https://example.com/x?y=1", "see https://[example.com/x]?y=1"),
    ("好", "你好", "你[好]"),
    ("你", "你好", "[你]好"),
    ("你好", "大家你好吗", "大家[你好]吗"),
    ("你好吗", "大家你好吗", "大家[你好吗]"),
    ("你吗", "你好吗", None),
    ("你 吗", "你好吗", "[你]好[吗]"),
    ("iphone手机", "买iPhone手机了", "买[iPhone手机]了"),
    ("手机iphone", "我的手机iPhone坏了", "我的[手机iPhone]坏了"),
    ("ガ", "ｶﾞｽ", "[ｶﾞｽ]"),
    ("かな", "ひらかなも", "ひら[かな]も"),
    ("한국", "한국어를", "[한국]어를"),
    ("국어", "한국어를", "한[국어]를"),
    ("สวัส", "สวัสดีครับ", "[สวัส]ดีครับ"),
    ("😂", "ha 😂😂", "ha [😂😂]"),
    ("２０", "in 2026", "in [20]26"),
    ("नमस्ते", "नमस्ते दुनिया", "[नमस्ते] दुनिया"),
    ("ИЙ", "ий", "[ий]"),
]


@pytest.mark.parametrize(("query", "text", "shown"), CASES)
def test_what_is_found_and_what_of_it_is_marked(query: str, text: str, shown: str | None) -> None:
    assert found(query, text) == shown


def test_a_query_without_a_word_asks_for_nothing() -> None:
    assert phrases(" … ?! _ ") == []


def test_no_word_of_the_index_can_be_taken_for_a_mark_or_leave_its_quotes() -> None:
    nasty = "@p:room ' \" \\ ) ( | & <-> :* * ^ NEAR \u0000 \u2028 a'b " + " ".join(map(chr, range(0x20, 0x20000)))
    for word in set(indexed(nasty)):
        assert word
        assert not set(word) & set("@:'\"\\ ()|&<>*^\u0000\u2028"), word


def test_a_snippet_is_one_line_around_the_first_mark() -> None:
    text = "word " * 100 + "needle\nin " + "hay " * 100
    line, marks = snippet(text, places(phrases("needle in"), text) or [])
    assert [line[start:end] for start, end in marks] == ["needle", "in"]
    assert line.startswith("…word ")
    assert line.endswith("…")
    assert "\n" not in line
    assert len(line) <= 162
    assert snippet("short", []) == ("short", [])
    assert snippet("", []) == ("", [])


def test_hostile_texts_cost_no_more_than_their_length() -> None:
    spent = {}
    for nasty in ("a\u0301" * 4096, "न" * 8192, "字" * 8192, "a字" * 4096, "a " * 4096, "ﷺ" * 8192):
        start = time.thread_time()
        indexed(nasty)
        for query in ("a " * 10, "字" * 90, "字 " * 10):
            places(phrases(query), nasty)
        spent[nasty[:2]] = time.thread_time() - start
    assert max(spent.values()) < 2, spent


def test_what_holds_a_link() -> None:
    assert all(map(has_link, ("see https://a.example/x", "WWW.example.org", "看http://例子.中国")))
    assert not any(map(has_link, ("https://", "a www of things", "me@www.example.org", "")))
