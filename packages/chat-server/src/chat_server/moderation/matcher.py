"""One list of words, and where a text holds some of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from chat_common.settings import SetupError

from chat_server.moderation.folding import Folded, fold

MOST = 64
"""Characters of an entry: bounds how many matches may end at one place."""
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff]"
)
"""Scripts that write words without spaces between them, where every place may be the beginning of one."""


class WrongEntry(ValueError):
    """An entry that could match nothing or everything. The message says why."""


class Matcher:
    """The entries of a list.

    An entry is found as a whole word, whatever its case, width and accents; ``*`` at its beginning or end lets it be a
    part of a longer one. Chinese, Japanese, Thai and such have no spaces between words: there it is found anywhere.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        edges: dict[str, tuple[bool, bool]] = {}
        for entry in entries:
            text, left, right = _read(entry)
            known = edges.get(text, (True, True))
            edges[text] = (known[0] and left, known[1] and right)
        self._edges = list(edges.values())
        self._automaton = _automaton(list(edges)) if edges else None

    @staticmethod
    def check(entry: str) -> None:
        """`WrongEntry` where it could not stand in a list."""
        _read(entry)

    def __len__(self) -> int:
        return len(self._edges)

    def finds(self, text: Folded) -> bool:
        """Whether the text holds any of them."""
        return bool(self._found(text))

    def spans(self, text: Folded) -> Sequence[tuple[int, int]]:
        """Where in the original the text holds them: ranges of code points, in order, none touching another."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted((text.starts[first], text.ends[last - 1]) for first, last in self._found(text)):
            if merged and first <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return merged

    def _found(self, text: Folded) -> list[tuple[int, int]]:
        if self._automaton is None:
            return []
        said = text.text
        found = []
        # Overlapping, since a longer entry that is no whole word here must not hide a shorter one that is.
        for entry, first, last in self._automaton.find_matches_as_indexes(said, overlapping=True):
            left, right = self._edges[entry]
            if left and first and _spaced(said[first - 1]):
                continue
            if right and last < len(said) and _spaced(said[last]):
                continue
            found.append((first, last))
        return found


def _read(entry: str) -> tuple[str, bool, bool]:
    """The folded entry, and whether a word has to begin and to end with it."""
    bare = entry.strip()
    left, right = not bare.startswith("*"), not bare.endswith("*")
    text = fold(bare.strip("*").strip()).text.strip()
    if not text:
        raise WrongEntry("nothing is left of it")
    if len(text) > MOST:
        raise WrongEntry(f"it has {len(text)} characters, at most {MOST} are allowed")
    return text, left and _spaced(text[0]), right and _spaced(text[-1])


def _spaced(character: str) -> bool:
    """A letter or digit of a script that has spaces between words."""
    return character.isalnum() and _UNSPACED.match(character) is None


def _automaton(entries: list[str]) -> Any:
    try:
        from ahocorasick_rs import AhoCorasick  # in an extra
    except ImportError:
        raise SetupError("Lists of words need more packages: install interesting-chat-server[words].") from None
    return AhoCorasick(entries)
