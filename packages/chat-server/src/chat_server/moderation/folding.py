"""Texts as lists of words compare them: without case, width, accents and invisible characters, and what stands where.

Each character of a folded text knows which code points of the original it comes from, so that a match can be masked in
the text as it was typed. The work is linear in the length of the text, whatever it is made of.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator, Sequence

from attrs import frozen

CLUSTER = 8
"""Code points of a letter with its marks that are looked at as one: more of them would be sorted in squared time."""
_ACCENTS = (
    (0x0300, 0x036F), (0x0483, 0x0489), (0x0591, 0x05C7), (0x0610, 0x061A), (0x064B, 0x065F), (0x0670, 0x0670),
    (0x06D6, 0x06ED), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F),
)  # fmt: skip
"""Marks of alphabets that are written without them as well. Those of other scripts tell words apart, and stay."""
_UNSEEN = (
    (0x034F, 0x034F), (0x0640, 0x0640), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800),
    (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF),
)  # fmt: skip
"""What is not to be seen, beside the class of format characters."""


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
    for start, end in _clusters(text):
        said = _folded(text[start:end])
        parts.append(said)
        starts += [start] * len(said)
        ends += [end] * len(said)
    return Folded("".join(parts), starts, ends)


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Where each letter begins and ends, its marks with it."""
    start = 0
    for place in range(1, len(text)):
        if place - start >= CLUSTER or not _goes_on(text[place]):
            yield start, place
            start = place
    yield start, len(text)


def _goes_on(character: str) -> bool:
    """A mark, or a vowel or last consonant of a Korean syllable."""
    return unicodedata.combining(character) != 0 or "\u1160" <= character <= "\u11ff"


@functools.lru_cache(maxsize=16_384)
def _folded(cluster: str) -> str:
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", cluster).casefold())
    return unicodedata.normalize("NFC", "".join(character for character in apart if not _is_dropped(character)))


def _is_dropped(character: str) -> bool:
    code = ord(character)
    if any(first <= code <= last for first, last in (*_ACCENTS, *_UNSEEN)):
        return True
    return unicodedata.category(character) == "Cf"
