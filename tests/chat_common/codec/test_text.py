"""Whatever a stranger sends is judged in time that grows as its size does, not as the square of it."""

from __future__ import annotations

import contextlib
from typing import Annotated, Literal

import pytest
from attrs import define
from chat_common.codec.json import JsonCodec
from chat_common.codec.text import bad_text, ref_of, too_deep
from chat_common.errors import Invalid
from chat_common.protocol.frames import BadFrame
from chat_common.validation import convert
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from tests.support.cost import growth

codec = JsonCodec()
SMALL, LARGE = 4_096, 65_536
LINEAR = 4 * LARGE / SMALL
"""Four times what is linear; the square is sixteen times it."""

NASTY = [
    '"', '\\"', "\\", "\\\\", "[", "]", "{", "}", ",", ":", " ", "1", "-", "0.", "e9", "null", "\\u0000", "\\ud800",
    " - at `", "`", "$.", "key in ", "Expected `int` < ", "<= ", "é", "\x00", "ref", '"ref":', '"op":',
]  # fmt: skip
BEGINNINGS = ["", '"', "[", '{"op":"', '{"op":"call","ref":"r","command":"c","params":{"t":"', '{"kind":"', "[" * 40]


@define
class Choice:
    kind: Literal["a", "b"]
    name: Annotated[str, Meta(max_length=64)] = ""


def judge(data: bytes) -> None:
    for frame in codec.client_frames(data):
        assert frame is not None
    too_deep(data, 31)
    bad_text(data)
    ref_of(data)
    with contextlib.suppress(Invalid):
        codec.decode(data, Choice)


def filled(beginning: str, unit: str, size: int) -> bytes:
    return (beginning + unit * size).encode()[:size]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(BEGINNINGS), st.lists(st.sampled_from(NASTY), min_size=1, max_size=4).map("".join))
def test_any_frame_is_judged_in_linear_time(beginning: str, unit: str) -> None:
    assert growth(judge, filled(beginning, unit, SMALL), filled(beginning, unit, LARGE)) < LINEAR


@pytest.mark.parametrize("unit", ['\\"', '\\"[', '\\\\\\"', '["\\"'])
def test_a_string_that_is_never_closed_is_looked_at_once(unit: str) -> None:
    """The brackets before it make the text worth a look; each quote in it must not be another beginning."""
    beginning = "[]" * 40 + '"'
    small, large = filled(beginning, unit, SMALL), filled(beginning, unit, LARGE)
    assert growth(lambda data: too_deep(data, 32), small, large) < LINEAR


@pytest.mark.parametrize("unit", [" - at `", "- at `$ - at `", "Expected `int` < 9", "missing required field `"])
def test_what_msgspec_quotes_of_a_client_is_looked_at_once(unit: str) -> None:
    def refused(kind: str) -> None:
        with pytest.raises(Invalid):
            convert({"kind": kind}, Choice)

    assert growth(refused, unit * (SMALL // len(unit)), unit * (LARGE // len(unit))) < LINEAR


@pytest.mark.parametrize("value", ["`int` < " + "9" * 5_000, "Expected `int` <= " + "9" * 5_000, " - at `$.x`" * 500])
def test_a_quotation_is_neither_read_as_a_limit_nor_sent_back_in_full(value: str) -> None:
    (bad,) = codec.client_frames(b'{"op":"%s","ref":"r"}' % value.encode())
    assert isinstance(bad, BadFrame)
    assert (bad.error.code, bad.error.field, bad.error.limit) == ("invalid", "op", None)
    assert len(bad.error.message) < 300
    with pytest.raises(Invalid) as refused:
        convert({"kind": value}, Choice)
    assert (refused.value.field, refused.value.limit) == ("kind", None)
    assert len(refused.value.message) < 300


def test_a_ref_behind_deep_brackets_that_is_no_text_is_none() -> None:
    deep = b"[" * 30_000 + b"]" * 30_000
    assert ref_of(b'{"x":' + deep + b',"ref":"good"}') == "good"
    assert ref_of(b'{"x":' + deep + b',"ref":"\\q"}') is None
    assert ref_of(b'{"x":' + deep + b',"ref":"never closed') is None
