"""One rule for all names that people give: themselves, their groups; and how search compares them.

A name is what the PRECIS nickname profile (RFC 8266) takes, so neither line breaks nor control, invisible or
direction characters; emoji of Unicode's list may stand in it. It is kept in NFC, spaces collapsed.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Any

from chat_common.errors import Invalid

MOST = 64
"""Code points of a name."""
LOOKED_AT = 256
"""Code points of a foreign name that `cleaned` looks at."""
MOST_MARKS = 7
"""Marks on one letter: what is drawn as one has at most 8 code points."""
RESERVED = ("admin", "administrator", "moderator", "official", "root", "support", "system", "server")
"""Names that would pass for the operator's."""
LOOKALIKES = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})
"""Scripts whose letters look like one another's: one word is written in one of them."""
_BLANK = "\u2800"
"""Braille without a dot: a sign by its class, and nothing to be seen."""
_CJK = re.compile(
    r"[\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)


class BadName(Invalid):
    """A name that is refused. ``reason``: one word of blank, long, short, characters, marks, mixed and reserved."""

    def __init__(self, reason: str, message: str, *, field: str, limit: int | None = None) -> None:
        super().__init__(message, field=field, limit=limit, reason=reason)


def display_name(value: str, field: str = "name") -> str:
    """The name as it is kept; `BadName` says what may not stand in it. `NameRules.display` asks for reserved ones."""
    given = unicodedata.normalize("NFC", value)
    name = " ".join(given.split())
    if not name.replace(_BLANK, "").strip():
        raise BadName("blank", f"{field} is empty or blank", field=field)
    if len(name) > MOST:
        raise BadName("long", f"{field}: at most {MOST} characters", field=field, limit=MOST)
    bare = emoji_bare(given)
    try:
        _profile().enforce(bare)
    except UnicodeEncodeError:
        message = f"{field}: invisible characters, line breaks and controls may not stand in a name"
        raise BadName("characters", message, field=field) from None
    marks = 0
    for character in bare:
        marks = marks + 1 if unicodedata.category(character).startswith("M") else 0
        if marks > MOST_MARKS:
            message = f"{field}: at most {MOST_MARKS} marks on one letter"
            raise BadName("marks", message, field=field, limit=MOST_MARKS)
    for word in bare.split():
        refuse_mixed(word, field)
    return name


def refuse_mixed(word: str, field: str) -> None:
    """`BadName` for a word in letters of several scripts that look like one another's."""
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in word if letter.isalpha()} & LOOKALIKES
    if len(scripts) > 1:
        raise BadName(
            "mixed", f"{field}: letters of {' and '.join(sorted(scripts))} are mixed in one word", field=field
        )


def cleaned(value: str) -> str:
    """The nearest name to one that somebody else vouches for (an application, a login provider): what may not stand in
    it is left out. Never raises."""
    try:
        return display_name(value)
    except Invalid:
        kept = ""
    for character in unicodedata.normalize("NFC", value[:LOOKED_AT]):
        try:
            display_name(kept + character)
        except Invalid:
            continue
        kept += character
    return " ".join(kept.split()) or "user"


def folded(name: str) -> str:
    """A name as search compares it: without case, accents and doubled spaces."""
    apart = unicodedata.normalize("NFKD", name)
    plain = "".join(character for character in apart if unicodedata.category(character) != "Mn")
    return " ".join(unicodedata.normalize("NFC", plain).casefold().split())


def parts(name: str) -> list[str]:
    """Where search may begin in a name: the rest of it from each word, and from each Chinese, Japanese or Korean
    character. At least one."""
    text = folded(name)
    found = {text}
    for place, character in enumerate(text):
        begins = character.isalnum() and (place == 0 or not text[place - 1].isalnum())
        if begins or _CJK.match(character):
            found.add(text[place:])
    return sorted(found)


def long_enough(query: str) -> bool:
    """Whether a folded query is no list of everybody: two letters, or one Chinese, Japanese or Korean character."""
    return len(query) >= 2 or bool(_CJK.match(query))


def one_emoji(value: str, field: str = "emoji") -> str:
    """The fully qualified form of one emoji of Unicode's list, variation selectors or not; else `Invalid`."""
    known = _emoji_by_bare().get(value.replace("\ufe0f", ""))
    if known is None:
        raise Invalid(f"{field}: one emoji of Unicode's list is needed", field=field)
    return known


def emoji_bare(text: str) -> str:
    """The text with each emoji of Unicode's list taken for a letter-less sign."""
    if text.isascii():
        return text
    import emoji

    return emoji.replace_emoji(text, replace=lambda found, _data: "#" if len(found) > 1 else found)


@functools.cache
def _emoji_by_bare() -> dict[str, str]:
    import emoji  # 160 ms: a server without reactions does not pay for it

    qualified = emoji.STATUS["fully_qualified"]
    return {
        text.replace("\ufe0f", ""): text for text, about in emoji.EMOJI_DATA.items() if about["status"] <= qualified
    }


@functools.cache
def _profile() -> Any:
    import precis_i18n

    return precis_i18n.get_profile("NicknameCasePreserved")
