"""Login names (handles), and what an operator allows in names: letters of further scripts, and what is reserved.

A handle is unique by what it looks like (`chat_server.names.confusables`), so that it tells two people apart whose
display names are alike. It is in small letters, of a-z, 0-9, `_`, `.`, `-`, and of the scripts that the setting allows.
"""

from __future__ import annotations

import functools
import secrets
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args

from attrs import frozen

from chat_server.names import BadName, cleaned, display_name, emoji_bare, folded, refuse_mixed
from chat_server.names.confusables import skeleton

LEAST, MOST = 2, 32
"""Code points of a handle."""
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")
SIGNS = "_.-"
RESERVED = ("all", "anybody", "everybody", "everyone", "here", "nobody", "postmaster", "webmaster")
"""What, beside the reserved names, means somebody else than one person. A group may well be called so."""

Script = Literal[
    "latin", "greek", "cyrillic", "armenian", "georgian", "hebrew", "arabic", "devanagari", "bengali", "tamil", "thai",
    "han", "hiragana", "katakana", "hangul",
]  # fmt: skip
SCRIPTS: tuple[Script, ...] = get_args(Script)
_NAMED = {"han": ("CJK UNIFIED", "CJK COMPATIBILITY", "IDEOGRAPHIC ITERATION")}
"""How the names of a script's letters begin, where that is not the script's own name."""
_NUMBERED = 9
"""Handles with a small number behind them that are tried before one with a random end."""
_ENDINGS = "23456789abcdefghjkpqrstuvwxyz"


@frozen
class NameRules:
    """``letters``: scripts whose letters may stand in handles. ``reserved``: names and handles that nobody may take;
    ``no_group``: those of them that a group may not have either."""

    letters: tuple[Script, ...] = ()
    reserved: frozenset[str] = frozenset()
    no_group: frozenset[str] = frozenset()

    @classmethod
    def of(cls, letters: Iterable[Script], reserved: Iterable[str]) -> NameRules:
        """The rules of an operator's settings."""
        return _rules(tuple(letters), tuple(reserved))

    def display(self, value: str, field: str = "name") -> str:
        """The name of a user as it is kept. `BadName`: what may not stand in a name, or reserved."""
        return _unreserved(display_name(value, field), self.reserved, field)

    def group(self, value: str, field: str = "name") -> str:
        """The name of a group as it is kept. `BadName`: see `display`."""
        return _unreserved(display_name(value, field), self.no_group, field)

    def is_reserved(self, name: str) -> bool:
        """Whether the name is, or looks like, one that nobody may take."""
        return _among(name, self.reserved)

    def checked(self, value: str, field: str = "handle") -> str:
        """The handle that somebody has chosen, as it is kept. `BadName`: what is wrong with it."""
        handle = self._kept(value, field)
        if self.is_reserved(handle):
            raise BadName("reserved", f"{field}: this login name is reserved for who runs this server", field=field)
        return handle

    def derived(self, name: str) -> str:
        """The handle that goes with a name: what is typed in its place when somebody logs in. The same name always has
        the same one. Other scripts are written in Latin letters; empty where nothing can be."""
        text = unicodedata.normalize("NFKC", name).casefold()
        for letters in (self.letters, ()):
            found = _spelled(text, letters)
            if found and len(found) < LEAST:
                found = f"{found}1"
            try:
                return self._kept(found, "handle") if found else ""
            except BadName:
                continue
        return ""

    def candidates(self, name: str) -> Iterator[str]:
        """Handles for somebody who has chosen none, the nearest to the name first; without an end."""
        base = self.derived(cleaned(name)) or "user"
        if base != "user" and not self.is_reserved(base):
            yield base
        for number in range(2, _NUMBERED + 1):
            yield f"{base[: MOST - 1]}{number}"
        while True:
            yield f"{base[: MOST - 7]}-{''.join(secrets.choice(_ENDINGS) for _ in range(6))}"

    def _kept(self, value: str, field: str) -> str:
        try:
            handle: str = _profile().enforce(unicodedata.normalize("NFC", value.casefold()))
        except UnicodeEncodeError:
            handle = ""
        if not handle or not all(each in PLAIN or _allowed(each, self.letters) for each in handle):
            also = f", and letters of {', '.join(self.letters)}" if self.letters else ""
            message = f"{field}: a login name is written in a-z, 0-9, _, . and -{also}"
            raise BadName("characters", message, field=field)
        if not LEAST <= len(handle) <= MOST:
            reason, limit = ("short", LEAST) if len(handle) < LEAST else ("long", MOST)
            message = f"{field}: a login name has {LEAST} to {MOST} characters"
            raise BadName(reason, message, field=field, limit=limit)
        if handle[0] in SIGNS or unicodedata.category(handle[0]).startswith("M"):
            raise BadName("characters", f"{field}: a login name begins with a letter or a digit", field=field)
        refuse_mixed(handle, field)
        return handle


@functools.lru_cache(maxsize=64)
def _rules(letters: tuple[Script, ...], reserved: tuple[str, ...]) -> NameRules:
    no_group = frozenset(skeleton(folded(name)) for name in reserved)
    return NameRules(letters, no_group | {skeleton(name) for name in RESERVED}, no_group)


def _among(name: str, reserved: frozenset[str]) -> bool:
    return skeleton(folded(name)) in reserved


def _unreserved(name: str, reserved: frozenset[str], field: str) -> str:
    if _among(name, reserved):
        raise BadName("reserved", f"{field}: this name is reserved for who runs this server", field=field)
    return name


def typed(text: str) -> str:
    """A whole handle as somebody writes it, perhaps with an @ before it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).strip().removeprefix("@").casefold())


def _spelled(text: str, letters: tuple[Script, ...]) -> str:
    from anyascii import anyascii  # its tables are read as they are needed

    spelled = ""
    for character in emoji_bare(text):
        if character in PLAIN or _allowed(character, letters):
            spelled += character
        elif unicodedata.category(character)[0] in "LNM":
            spelled += "".join(each for each in anyascii(character).casefold() if each in PLAIN and each.isalnum())
        elif spelled and spelled[-1] not in SIGNS:
            spelled += "."
    return spelled.strip(SIGNS)[:MOST].strip(SIGNS)


def _allowed(character: str, letters: tuple[Script, ...]) -> bool:
    if not letters or unicodedata.category(character)[0] not in "LM":
        return False
    name = unicodedata.name(character, "")
    return any(name.startswith(_NAMED.get(script, script.upper())) for script in letters)


@functools.cache
def _profile() -> Any:
    import precis_i18n

    return precis_i18n.get_profile("UsernameCaseMapped")
