"""What users can be given: the server's own items, those of plugins, and those of the settings, each by its id.

An id is for ever: rows of an item that the catalogue has no more stay readable, and are neither given nor worn.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
from attrs import fields, frozen
from chat_common import wire
from chat_common.decoding import prepare
from chat_common.errors import NotFound
from chat_common.records import CatalogueItem, ItemGrant
from chat_common.settings import SetupError, nearest
from msgspec import UNSET

RENAME_CARD = "rename_card"
REGISTERED: Final = "user.registered"
BUILT_IN = (
    CatalogueItem(RENAME_CARD, "card", {"en": "Rename card", "zh": "改名卡"}, grant=ItemGrant(REGISTERED)),
    CatalogueItem(
        "first_ten", "badge", {"en": "One of the first ten", "zh": "前十名用户"},
        grant=ItemGrant(REGISTERED, "number <= 10"),
    ),
    CatalogueItem(
        "first_hundred", "badge", {"en": "One of the first hundred", "zh": "前百名用户"},
        grant=ItemGrant(REGISTERED, "number > 10 and number <= 100"),
    ),
    CatalogueItem("contributor", "badge", {"en": "Contributor", "zh": "贡献者"}),
)  # fmt: skip
MOST = 100
"""Items of a catalogue, which every list of a backpack carries."""
MOST_AT_ONCE = 20
_ID = re.compile(r"[A-Za-z0-9_-]{1,40}\Z")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*\Z")
_TERM = re.compile(r"number (<=|>=|==|<|>) (0|[1-9][0-9]{0,14})\Z")
_COMPARISONS: Mapping[str, Callable[[int, int], bool]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip

prepare(CatalogueItem)


@frozen
class Entry:
    """An item of the catalogue, and the comparisons that its grant waits for."""

    record: CatalogueItem
    terms: tuple[tuple[str, int], ...]

    def given_at(self, event: str, number: int) -> int:
        """How many of it the event gives."""
        grant = self.record.grant
        if grant is None or grant.on != event:
            return 0
        return grant.count if all(_COMPARISONS[sign](number, bound) for sign, bound in self.terms) else 0

    def badge(self) -> wire.Badge:
        """As it stands beside a name."""
        record = self.record
        return wire.Badge(
            item=record.item, name=title(record.names), picture=record.picture or UNSET, names=dict(record.names)
        )


class Catalogue:
    """`SetupError`: an entry that is none, named by its id and field."""

    def __init__(self, plugged: Iterable[CatalogueItem], settings: Mapping[str, Mapping[str, Any]]) -> None:
        records = {record.item: record for record in plugged}
        records.update({name: _read(name, given) for name, given in settings.items()})
        if len(records) > MOST:
            raise SetupError(f"[items] catalogue: There are {len(records)} items; {MOST} is the limit.")
        self.entries = {name: _checked(record) for name, record in records.items()}

    def require(self, item: str) -> Entry:
        """`NotFound`: there is no such item, or no more."""
        found = self.entries.get(item)
        if found is None:
            raise NotFound(f"item: There is no item {item} here.", field="item")
        return found

    def gives_at(self, event: str) -> bool:
        """Whether the event gives anything to anybody."""
        return any(e.record.grant is not None and e.record.grant.on == event for e in self.entries.values())


def title(names: Mapping[str, str]) -> str:
    """The English name, or the first one."""
    return names.get("en") or next(iter(names.values()))


def _read(name: str, given: Mapping[str, Any]) -> CatalogueItem:
    where = f"[items.catalogue.{name}]"
    known = {"kind", "name", "picture", "grant"}
    _only(where, given, known)
    grant = given.get("grant")
    if isinstance(grant, Mapping):
        _only(f"{where} grant", grant, {field.name for field in fields(ItemGrant)})
    names = given.get("name")
    try:
        return msgspec.convert(
            {
                "item": name,
                "kind": given.get("kind"),
                "names": {"en": names} if isinstance(names, str) else names,
                "picture": given.get("picture", ""),
                "grant": grant,
            },
            CatalogueItem,
        )
    except msgspec.ValidationError as error:
        raise SetupError(f"{where}: {error}") from error


def _only(where: str, given: Mapping[str, Any], known: set[str]) -> None:
    for key in given:
        if key not in known:
            raise SetupError(f"{where}: unknown key {key}: {nearest(key, known)}")


def _checked(record: CatalogueItem) -> Entry:
    where = f"The item {record.item!r}"
    if not _ID.match(record.item):
        raise SetupError(f"{where}: An id is 1 to 40 letters, digits, _ or -.")
    if record.kind not in ("card", "badge"):
        raise SetupError(f"{where}: kind: {record.kind!r} is neither card nor badge.")
    if not record.names or not all(_LANGUAGE.match(key) and 0 < len(each) <= 64 for key, each in record.names.items()):
        raise SetupError(f"{where}: name: At least one name of 1 to 64 characters, by language, such as en or zh.")
    if len(record.names) > 20 or len(record.picture) > 512:
        raise SetupError(f"{where}: At most 20 names, and a picture's address of at most 512 characters.")
    grant = record.grant
    if grant is None:
        return Entry(record, ())
    most = MOST_AT_ONCE if record.kind == "card" else 1
    if grant.on != REGISTERED:
        raise SetupError(f"{where}: grant.on: {grant.on!r} is not known: {REGISTERED} is.")
    if not 1 <= grant.count <= most:
        raise SetupError(f"{where}: grant.count: {grant.count} is not within 1 to {most}.")
    terms = []
    for text in grant.when.split(" and ") if grant.when else ():
        term = _TERM.match(text.strip())
        if term is None:
            raise SetupError(f"{where}: grant.when: {text!r} is no comparison such as 'number <= 10'.")
        terms.append((term[1], int(term[2])))
    return Entry(record, tuple(terms))
