"""The inbox: one's own list, latest activity first, and the own settings of an entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define
from chat_common import wire
from chat_common.ports.database import Database
from chat_common.records import Caller
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, Row, and_, or_, select

from chat_server.store import epoch, pages, views
from chat_server.store.executor import caller_user
from chat_server.store.rights import standing
from chat_server.store.schema import conversation, member, version
from chat_server.store.tx import Tx


@define(kw_only=True)
class InboxList:
    cursor: pages.Cursor | None = None
    limit: pages.Limit | None = None


@define(kw_only=True)
class InboxPage:
    inbox: list[wire.Inbox]
    version: int
    epoch: str
    cursor: str | UnsetType = UNSET


@define(kw_only=True)
class InboxSet:
    conversation: wire.Id
    muted: bool | None = None
    pinned: bool | None = None
    hidden: bool | None = None


async def inbox_list(
    database: Database, preview: Callable[[str, Any], str], caller: Caller, request: InboxList
) -> InboxPage:
    """A page of the list. The version is read before the rows: a client may go on from it by `sync`."""
    me = caller_user(caller)
    after = None if request.cursor is None else pages.read_cursor("inbox.list", request.cursor, tuple[int, str])
    return await database.read(lambda connection: _page(connection, preview, me, after, request.limit or pages.DEFAULT))


def _page(
    connection: Connection, preview: Callable[[str, Any], str], me: str, after: tuple[int, str] | None, limit: int
) -> InboxPage:
    number: int = connection.execute(select(version.c.version).where(version.c.user == me)).scalar_one()
    normal = views.inbox_query().where(member.c.user == me, member.c.activity > 0, or_(~conversation.c.hot, _LEFT))
    if after is not None:
        normal = normal.where(
            or_(
                member.c.activity < after[0],
                and_(member.c.activity == after[0], member.c.conversation < after[1]),
            )
        )
    rows = list(
        connection.execute(normal.order_by(member.c.activity.desc(), member.c.conversation.desc()).limit(limit + 1))
    )
    rows.extend(row for row in hot_rows(connection, me) if after is None or _place(row) < after)
    rows.sort(key=_place, reverse=True)
    shown = rows[:limit]
    return InboxPage(
        inbox=views.inbox_records(connection, shown, preview),
        version=number,
        epoch=epoch.read(connection),
        cursor=pages.write_cursor("inbox.list", *_place(shown[-1])) if len(rows) > limit else UNSET,
    )


_LEFT = member.c.to_seq.is_not(None)


def _place(row: Row[Any]) -> tuple[int, str]:
    hot = row.hot and row.to_seq is None
    return (max(row.activity, row.head_time) if hot else row.activity, row.conversation)


def hot_rows(connection: Connection, me: str) -> list[Row[Any]]:
    """One's hot rooms: their own row is the inbox of all, merged in at reading."""
    return list(connection.execute(views.inbox_query().where(member.c.user == me, conversation.c.hot, ~_LEFT)))


def one(connection: Connection, preview: Callable[[str, Any], str], me: str, name: str) -> wire.Inbox:
    """What ``me`` sees of one conversation now."""
    rows = connection.execute(views.inbox_query().where(member.c.user == me, member.c.conversation == name)).all()
    return views.inbox_records(connection, rows, preview)[0]


def set_inbox(tx: Tx, me: str, request: InboxSet) -> wire.Inbox:
    """Mute, pin or hide; told to the own devices. The row stays one's own when one has left."""
    here = standing(tx.connection, me, request.conversation, active=False)
    wanted = {"muted": request.muted, "pinned": request.pinned, "hidden": request.hidden}
    changed = {
        name: value for name, value in wanted.items() if value is not None and value != getattr(here.member, name)
    }
    if changed.get("hidden") and here.room.hot and not here.left:
        # No message writes this row: what is newer than this brings it back.
        changed["activity"] = max(here.member.activity, here.room.head_time)
    if changed:
        tx.touch(request.conversation, [me], **changed)
    return one(tx.connection, tx.preview, me, request.conversation)


@define(kw_only=True)
class Read:
    conversation: wire.Id
    seq: wire.Count


@define(kw_only=True)
class ReadState:
    read: int
    unread: int


def read(tx: Tx, me: str, request: Read) -> ReadState:
    """Move the read pointer: forward only, at most to the head (or one's end). In a direct chat the other learns it."""
    room = tx.room(request.conversation)
    here = standing(tx.connection, me, request.conversation, room=room, active=False)
    mine = here.member
    end = mine.to_seq if here.left else room.head_seq
    target = min(request.seq, end)
    if target > mine.read_seq:
        if room.kind == "direct":
            rev = room.stamp()
            tx.touch(request.conversation, [me], read_seq=target, rev=rev)
            room.announce_members([me], rev)
        else:
            tx.touch(request.conversation, [me], read_seq=target)
        mine = standing(tx.connection, me, request.conversation, room=room, active=False).member
    return ReadState(
        read=mine.read_seq,
        unread=max(0, end - max(mine.read_seq, mine.from_seq - 1, room.first_kept - 1, mine.own_seq)),
    )
