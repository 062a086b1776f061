"""The inbox: a user's own list, latest activity first, and the user's settings of an entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from attrs import define
from chat_common import wire
from chat_common.errors import Invalid
from chat_common.ports.database import Database
from chat_common.records import Caller
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection, Row, and_, or_, select

from chat_server.store import epoch, pages, views
from chat_server.store.executor import caller_user
from chat_server.store.rights import standing
from chat_server.store.schema import conversation, member, version
from chat_server.store.tx import Tx


@define(kw_only=True)
class InboxList:
    """A page of the list; or, by ``conversations``, just their rows, without those that are not in the own list."""

    cursor: pages.Cursor | None = None
    limit: pages.Limit | None = None
    conversations: Annotated[list[wire.Id], Meta(min_length=1, max_length=pages.MOST)] | None = None


@define(kw_only=True)
class InboxPage:
    inbox: list[wire.Inbox]
    version: int
    epoch: str
    cursor: str | UnsetType = UNSET


@define(kw_only=True)
class InboxSet:
    """``unread``: marked as unread by hand, whatever was read; ``read`` ends that."""

    conversation: wire.Id
    muted: bool | None = None
    pinned: bool | None = None
    hidden: bool | None = None
    unread: bool | None = None


async def inbox_list(
    database: Database, preview: Callable[[str, Any], str], caller: Caller, request: InboxList
) -> InboxPage:
    """A page of the list, or the rows asked for by name.

    A page and its version are read in one transaction, the pages of a list at different moments: announce, read, merge
    by number. What moves to the top meanwhile, and so out of all pages, has a version above the first page's if its
    conversation is normal, and the `sync` from there brings it. A hot one gives its members no versions; the last page
    of that `sync` names all of them (`hot`), and of one whose row the client lacks it asks for the row by name.
    """
    me = caller_user(caller)
    if request.conversations is not None:
        if request.cursor is not None or request.limit is not None:
            raise Invalid(
                "conversations: Leave out cursor and limit when conversations are named.", field="conversations"
            )
        names = request.conversations
        return await database.read(lambda connection: _named(connection, preview, me, names))
    after = None if request.cursor is None else pages.read_cursor("inbox.list", request.cursor, tuple[int, str])
    return await database.read(lambda connection: _page(connection, preview, me, after, request.limit or pages.DEFAULT))


def _version(connection: Connection, me: str) -> int:
    number: int = connection.execute(select(version.c.version).where(version.c.user == me)).scalar_one()
    return number


def _named(connection: Connection, preview: Callable[[str, Any], str], me: str, names: list[str]) -> InboxPage:
    # A direct chat without a message has no activity and is in nobody's list.
    mine = views.inbox_query().where(member.c.user == me, _LISTED, member.c.conversation.in_(names))
    rows = sorted(connection.execute(mine), key=_place, reverse=True)
    return InboxPage(
        inbox=views.inbox_records(connection, rows, preview),
        version=_version(connection, me),
        epoch=epoch.read(connection),
    )


def _page(
    connection: Connection, preview: Callable[[str, Any], str], me: str, after: tuple[int, str] | None, limit: int
) -> InboxPage:
    number = _version(connection, me)
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
_LISTED = or_(member.c.activity > 0, conversation.c.hot)


def _place(row: Row[Any]) -> tuple[int, str]:
    hot = row.hot and row.to_seq is None
    return (max(row.activity, row.head_time) if hot else row.activity, row.conversation)


def hot_rows(connection: Connection, me: str) -> list[Row[Any]]:
    """The user's hot conversations: the conversation's row serves all members, and is merged in at reading."""
    return list(connection.execute(views.inbox_query().where(member.c.user == me, conversation.c.hot, ~_LEFT)))


def one(connection: Connection, preview: Callable[[str, Any], str], me: str, name: str) -> wire.Inbox:
    """What ``me`` sees of one conversation now."""
    rows = connection.execute(views.inbox_query().where(member.c.user == me, member.c.conversation == name)).all()
    return views.inbox_records(connection, rows, preview)[0]


def set_inbox(tx: Tx, me: str, request: InboxSet) -> wire.Inbox:
    """Mute, pin, hide or mark as unread; the user's own devices are told. The row stays the user's after leaving."""
    here = standing(tx.connection, me, request.conversation, active=False)
    wanted = {
        "muted": request.muted,
        "pinned": request.pinned,
        "hidden": request.hidden,
        "marked": request.unread,
    }
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
    """Move the read pointer: forward only, at most to the head (or to where the caller left). In a direct chat the
    other user is told."""
    room = tx.room(request.conversation)
    here = standing(tx.connection, me, request.conversation, room=room, active=False)
    mine = here.member
    end = mine.to_seq if here.left else room.head_seq
    target = min(request.seq, end)
    if target > mine.read_seq:
        if room.kind == "direct":
            rev = room.stamp()
            tx.touch(request.conversation, [me], read_seq=target, rev=rev, marked=False)
            room.announce_members([me], rev)
        else:
            tx.touch(request.conversation, [me], read_seq=target, marked=False)
        mine = standing(tx.connection, me, request.conversation, room=room, active=False).member
    elif mine.marked:
        tx.touch(request.conversation, [me], marked=False)
    return ReadState(
        read=mine.read_seq,
        unread=max(0, end - max(mine.read_seq, mine.from_seq - 1, room.first_kept - 1, mine.own_seq)),
    )
