"""What of a text is found: its words, folded, and pairs of characters where writing has no spaces.

A Latin word is found from its beginning on; Chinese, Japanese, Korean and the other scripts without spaces are found
from any character on, so each character is indexed together with the one after it (the last one alone). Accents, case
and width make no difference. The same cutting serves what is indexed, what is asked for and what is marked.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from attrs import frozen

LONGEST = 64
"""Code points of a word that count."""
MOST_MARKS = 20
"""Marked places of one snippet."""
BEFORE, SHOWN = 40, 160
"""Code points of a snippet before its first mark, and of all of it."""

_DENSE = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2190-\u2bff\u3005-\u3007\u3040-\u30ff\u3130-\u318f"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc"
    "\U0001f000-\U0001faff\U00020000-\U0003ffff"
)
"""Scripts that are written without spaces, Korean (whose words carry endings), arrows, signs and emoji."""
_DROPPED = "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc"
_MARKS = _DROPPED + "\u0900-\u0963\u0966-\u0dff"
_PIECE = re.compile(rf"(?P<dense>[{_DENSE}]+)|[^\W_{_DENSE}]+(?:(?!\w)[{_MARKS}][^\W_{_DENSE}]*)*")
_ACCENTS = re.compile(f"[{_DROPPED}]")
_SIGNS = re.compile("[\x00-/:-@\\[-`{-\x7f]+")
"""What some letters fall apart into, and no word may hold: the engines' own signs are among them."""
_LETTERS = str.maketrans({"ø": "o", "đ": "d", "ł": "l", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th"})


@frozen
class Phrase:
    """Words that stand next to one another; ``prefix``: the last one is the beginning of a word."""

    words: tuple[str, ...]
    prefix: bool


def _folded(word: str) -> str:
    if word.isascii():
        return word.lower()[:LONGEST]
    bare = _SIGNS.sub("", _ACCENTS.sub("", unicodedata.normalize("NFKD", word)))
    return unicodedata.normalize("NFC", bare).casefold().translate(_LETTERS)[:LONGEST] or word


def _even(run: str) -> str:
    """A run of dense writing in its usual form: half-width letters, composed syllables."""
    if unicodedata.is_normalized("NFKC", run):
        return run
    return _SIGNS.sub("", unicodedata.normalize("NFKC", run)) or run


def indexed(text: str) -> list[str]:
    """The words of a text in their order, as the index keeps them."""
    found: list[str] = []
    for piece in _PIECE.finditer(text):
        if piece.lastgroup is None:
            found.append(_folded(piece[0]))
        else:
            run = _even(piece[0])
            found.extend([run[at : at + 2] for at in range(len(run))])
    return found


def phrases(query: str) -> list[Phrase]:
    """What is asked for: each part between spaces is a phrase, and all of them must stand in a text."""
    return [phrase for part in query.split() if (phrase := _phrase(part)) is not None]


def _phrase(part: str) -> Phrase | None:
    pieces = list(_PIECE.finditer(part))
    if not pieces:
        return None
    words: list[str] = []
    for piece in pieces:
        if piece.lastgroup is None:
            words.append(_folded(piece[0]))
        else:
            run = _even(piece[0])
            last = piece is pieces[-1] and len(run) > 1  # what comes after its last character may be anything
            words.extend(run[at : at + 2] for at in range(len(run) - last))
    if pieces[-1].lastgroup is not None:
        return Phrase(tuple(words), prefix=len(words[-1]) == 1)
    return Phrase(tuple(words), prefix=len(words[-1]) > 1)


def _placed(text: str) -> Iterator[tuple[str, int, int, bool]]:
    """(word, where it begins, where it ends, whether each letter stands for one of the text's)."""
    for piece in _PIECE.finditer(text):
        start, end = piece.span()
        if piece.lastgroup is None:
            word = _folded(piece[0])
            yield word, start, end, len(word) == end - start
            continue
        run = _even(piece[0])
        exact = len(run) == end - start
        for at in range(len(run)):
            if exact:
                yield run[at : at + 2], start + at, min(start + at + 2, end), True
            else:
                yield run[at : at + 2], start, end, False


def places(wanted: Sequence[Phrase], text: str) -> list[tuple[int, int]] | None:
    """Where in ``text`` the phrases stand, as (from, to) in code points, in order and apart; None unless all do."""
    words = list(_placed(text))
    found: list[tuple[int, int]] = []
    for phrase in wanted:
        here = _of_phrase(phrase, words)
        if not here:
            return None
        found.extend(here)
    return _joined(found)


def _of_phrase(phrase: Phrase, words: Sequence[tuple[str, int, int, bool]]) -> list[tuple[int, int]]:
    count, first, last = len(phrase.words), phrase.words[0], phrase.words[-1]
    found: list[tuple[int, int]] = []
    for at in range(len(words) - count + 1):
        if count > 1 and (words[at][0] != first or any(words[at + n][0] != phrase.words[n] for n in range(count - 1))):
            continue
        word, start, end, exact = words[at + count - 1]
        if word != last and not (phrase.prefix and word.startswith(last)):
            continue
        found.append((words[at][1], start + len(last) if exact else end))
        if len(found) == MOST_MARKS:
            break
    return found


def _joined(found: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def snippet(text: str, marked: Sequence[tuple[int, int]]) -> tuple[str, list[tuple[int, int]]]:
    """One line around the first marked place, at most 162 code points, and where the marks lie in it."""
    first = marked[0][0] if marked else 0
    start = max(0, min(first - BEFORE, len(text) - SHOWN))
    if start > 0:
        # Between two words, where there is a space near.
        start = max(start, text.find(" ", start, first) + 1)
    end = min(len(text), start + SHOWN)
    before, after = "…" if start else "", "…" if end < len(text) else ""
    line = before + re.sub(r"\s", " ", text[start:end]) + after
    moved = len(before) - start
    marks = [(begin + moved, min(finish, end) + moved) for begin, finish in marked if begin < end]
    return line, marks[:MOST_MARKS]
