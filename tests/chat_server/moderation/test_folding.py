"""How texts are compared: what is the same, where it stands, and what that costs."""

from __future__ import annotations

import unicodedata

import pytest
from chat_server.moderation import folding
from chat_server.moderation.folding import fold
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("BaD", "bad"),
        ("Straße", "strasse"),
        ("ＢＡＤ", "bad"),
        ("𝕓𝕒𝕕", "bad"),
        ("bäd", "bad"),
        ("ba\u0301d", "bad"),
        ("b\u200ba\u00add\u2060", "bad"),
        ("b\u200d\u0301ad", "bad"),
        ("İ", "i"),
        ("坏\u200b话", "坏话"),
        ("が", "が"),
        ("か\u3099", "が"),
        ("\u1100\u1161\u11a8", "각"),
        ("", ""),
    ],
)
def test_what_is_the_same(written: str, wanted: str) -> None:
    assert fold(written).text == wanted


def test_every_character_knows_where_it_comes_from() -> None:
    text = "x\u200bﬁß e\u0301"
    folded = fold(text)
    assert folded.text == "xfiss e"
    assert [text[first:last] for first, last in zip(folded.starts, folded.ends, strict=True)] == [
        "x", "ﬁ", "ﬁ", "ß", "ß", " ", "e\u0301",
    ]  # fmt: skip


def test_what_is_taken_in_runs_is_what_folding_each_character_makes() -> None:
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    plain = [character for character in every if folding._PLAIN.fullmatch(character)]
    assert len(plain) > 80_000
    assert [each for each in plain if folding._folded.__wrapped__(each) != each.lower()] == []
    seen = [each for each in every if unicodedata.category(each) == "Cf" and not folding._DROPPED.fullmatch(each)]
    assert seen == []


def test_a_long_text_of_plain_characters_is_looked_at_in_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    real = folding._end_of_run
    monkeypatch.setattr(folding, "_end_of_run", lambda text, place: steps.append(place) or real(text, place))
    fold.__wrapped__("坏话" * 4_000)
    assert steps == [0]


@settings(deadline=None)
@given(st.text(max_size=200))
def test_ranges_are_in_order_and_within_the_text(text: str) -> None:
    folded = fold(text)
    assert len(folded.text) == len(folded.starts) == len(folded.ends)
    before = 0
    for first, end in zip(folded.starts, folded.ends, strict=True):
        assert before <= first < end <= len(text)
        before = first


def test_the_work_is_linear_also_over_marks_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given to the normaliser, which sorts marks in squared time, stays short; and twice the text is twice the
    work."""
    sizes: list[int] = []

    class Counted:
        def __getattr__(self, name: str) -> object:
            return getattr(unicodedata, name)

        def normalize(self, form: str, text: str) -> str:
            sizes.append(len(text))
            return unicodedata.normalize(form, text)  # type: ignore[arg-type]

    monkeypatch.setattr(folding, "unicodedata", Counted())
    monkeypatch.setattr(folding, "_folded", folding._folded.__wrapped__)
    work = []
    for size in (4_000, 8_000):
        sizes.clear()
        fold.__wrapped__("a" + "\u0301\u0323" * (size // 2))
        assert max(sizes) <= 2 * folding.CLUSTER
        work.append(sum(sizes))
    assert 0 < work[1] <= 2.05 * work[0]
