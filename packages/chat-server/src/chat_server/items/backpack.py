"""Looking at what one has, and wearing it: ``item.list``, ``badge.list``, ``badge.wear``."""

from __future__ import annotations

from typing import Any, Literal

from attrs import define
from chat_common import wire
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, select

from chat_server.items.catalogue import Catalogue, Entry, title
from chat_server.items.grants import Pin, lock
from chat_server.store import pages, views
from chat_server.store.schema import item, user
from chat_server.store.tx import Tx, missing


@define(kw_only=True)
class ListItems:
    """The newest first."""

    cursor: pages.Cursor | None = None
    limit: pages.Limit | None = None


@define(kw_only=True)
class InCatalogue:
    """An item as the catalogue has it. ``name``: in English, or in the first language there is."""

    item: str
    kind: Literal["card", "badge"]
    name: str
    names: dict[str, str]
    picture: str | UnsetType = UNSET


@define(kw_only=True)
class ItemsPage:
    """``catalogue``: what can be given here; an item that it does not name was given in former times."""

    items: list[wire.Item]
    catalogue: list[InCatalogue]
    cursor: str | UnsetType = UNSET


@define(kw_only=True)
class NoParams:
    """No parameters."""


@define(kw_only=True)
class OneBadge:
    item: str
    name: str
    names: dict[str, str]
    owned: bool
    worn: bool
    picture: str | UnsetType = UNSET


@define(kw_only=True)
class Badges:
    """All badges of the catalogue."""

    badges: list[OneBadge]


@define(kw_only=True)
class WearBadge:
    """``item``: one's own badge; null: none."""

    item: wire.Id | None


@define(kw_only=True)
class BadgeWorn:
    user: wire.User


def page(connection: Connection, catalogue: Catalogue, who: str, command: str, request: Any) -> ItemsPage:
    """A page of one user's backpack."""
    limit = request.limit or pages.DEFAULT
    wanted = select(item).where(item.c.user == who).order_by(item.c.version.desc()).limit(limit + 1)
    if request.cursor is not None:
        wanted = wanted.where(item.c.version < pages.read_cursor(command, request.cursor, tuple[int])[0])
    rows = connection.execute(wanted).all()
    return ItemsPage(
        items=[views.item_record(row) for row in rows[:limit]],
        catalogue=[_shown(entry) for entry in catalogue.entries.values()],
        cursor=pages.write_cursor(command, rows[limit - 1].version) if len(rows) > limit else UNSET,
    )


def badges(connection: Connection, catalogue: Catalogue, who: str) -> Badges:
    """Every badge, and whether one has it and wears it."""
    mine = connection.execute(select(user).where(user.c.user == who)).one_or_none()
    if mine is None:
        raise missing("user")
    worn = views.user_record(mine).badge
    owned = set(connection.execute(select(item.c.item).where(item.c.user == who, item.c.once.is_not(None))).scalars())
    return Badges(
        badges=[
            OneBadge(
                item=name,
                name=title(entry.record.names),
                names=dict(entry.record.names),
                picture=entry.record.picture or UNSET,
                owned=name in owned,
                worn=worn is not UNSET and worn.item == name,
            )
            for name, entry in catalogue.entries.items()
            if entry.record.kind == "badge"
        ]
    )


def wear(catalogue: Catalogue, pin: Pin, tx: Tx, who: str, request: WearBadge) -> BadgeWorn:
    """Wear a badge, or none. `NotFound`: one does not have it, or it is no badge of the catalogue."""
    mine = lock(tx, who)
    worn = views.user_record(mine)
    if request.item is None:
        return BadgeWorn(user=worn if worn.badge is UNSET else pin(tx, who, None))
    badge = catalogue.require(request.item).badge()
    owned = select(item.c.key).where(item.c.once == f"{who}:{request.item}")
    if tx.connection.execute(owned).first() is None:
        raise missing("badge of yours")
    return BadgeWorn(user=worn if worn.badge == badge else pin(tx, who, badge))


def _shown(entry: Entry) -> InCatalogue:
    record = entry.record
    return InCatalogue(
        item=record.item,
        kind=record.kind,
        name=title(record.names),
        names=dict(record.names),
        picture=record.picture or UNSET,
    )
