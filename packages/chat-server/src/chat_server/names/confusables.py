"""What looks alike: the skeleton of Unicode's UTS 39. Two texts with one skeleton can be taken for each other."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping
from importlib import resources

TABLE = "confusables.txt"
"""Prototypes and what looks like them; `.ci/confusables.py` writes it."""


@functools.lru_cache(maxsize=8192)
def skeleton(text: str) -> str:
    """The text with each character as the one that it looks like, without case. Only to be compared with another."""
    # By compatibility, which UTS 39 leaves to others: a fullwidth d is a d.
    apart = unicodedata.normalize("NFKD", text)
    drawn = "".join(_prototypes().get(character, character) for character in apart if not _invisible(character))
    # Case last: a capital I is taken for an l, a small i is not.
    return unicodedata.normalize("NFD", drawn.casefold())


def look(name: str) -> str | None:
    """The skeleton of a name, or None where it is the name itself in small letters."""
    found = skeleton(name)
    return None if found == name.lower() else found


def _invisible(character: str) -> bool:
    return (not character.isascii() and unicodedata.category(character) == "Cf") or character in _FILLERS


_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe0e\ufe0f")


@functools.cache
def _prototypes() -> Mapping[str, str]:
    lines = resources.files("chat_server.names").joinpath(TABLE).read_text("utf-8").split("\n")
    found: dict[str, str] = {}
    for line in lines:
        prototype, _, sources = line.partition("\t")
        found.update(dict.fromkeys(sources, prototype))
    return found
