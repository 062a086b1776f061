"""Texts as lists of words compare them: without case, width, accents and invisible characters, and what stands where.

Each character of a folded text knows which code points of the original it comes from, so that a match can be masked in
the text as it was typed. The work is linear in the length of the text, whatever it is made of.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence

from attrs import frozen

CLUSTER = 8
"""Code points of a letter with its marks that are looked at as one: more of them would be sorted in squared time."""
_PLAIN = re.compile(
    "[\x00-\x7f\u1200-\u1248\u3001\u3002\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua48c\uac00-\ud7a3"
    "\U00017000-\U000187f7\U0001f300-\U0001f3fa\U0001f400-\U0001f64f\U0001f680-\U0001f6d7\U00020000-\U0002a6df]+"
)
"""Characters that are compared as they are, or in lower case, unless a mark follows: taken in runs, not one by one."""
_DROPPED = re.compile(
    # Marks of alphabets that are written without them as well. Those of other scripts tell words apart, and stay.
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u1ab0-\u1aff\u1dc0-\u1dff"
    "\u20d0-\u20ff\ufe20-\ufe2f"
    # What is not to be seen: fillers, selectors of variants, and the class of format characters.
    "\u034f\u0640\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
    "\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]+"
)


@frozen
class Folded:
    """``text[n]`` stands for the code points from ``starts[n]`` up to ``ends[n]`` of the original."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


@functools.lru_cache(maxsize=32)
def fold(text: str) -> Folded:
    """The text as it is compared. The last ones are kept: each is looked at for several lists in turn."""
    if text.isascii():
        return Folded(text.lower(), range(len(text)), range(1, len(text) + 1))
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    place = 0
    while place < len(text):
        end = _end_of_run(text, place)
        if end > place:
            parts.append(text[place:end].lower())
            starts += range(place, end)
            ends += range(place + 1, end + 1)
        else:
            end = _end_of_cluster(text, place)
            said = _folded(text[place:end])
            parts.append(said)
            starts += [place] * len(said)
            ends += [end] * len(said)
        place = end
    return Folded("".join(parts), starts, ends)


def _end_of_run(text: str, place: int) -> int:
    """Where the plain characters from here on end; a last one with a mark behind it is not one of them."""
    run = _PLAIN.match(text, place)
    if run is None:
        return place
    end = run.end()
    return end - 1 if end < len(text) and _goes_on(text[end]) else end


def _end_of_cluster(text: str, place: int) -> int:
    """Where the letter that begins here ends, its marks with it."""
    end = place + 1
    while end < len(text) and end - place < CLUSTER and _goes_on(text[end]):
        end += 1
    return end


def _goes_on(character: str) -> bool:
    """A mark, or a vowel or last consonant of a Korean syllable."""
    return unicodedata.combining(character) != 0 or "\u1160" <= character <= "\u11ff"


@functools.lru_cache(maxsize=16_384)
def _folded(cluster: str) -> str:
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", cluster).casefold())
    return unicodedata.normalize("NFC", _DROPPED.sub("", apart))
