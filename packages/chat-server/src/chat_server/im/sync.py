"""Sync: one mechanism repairs everything. Rows stamped later than the client's number, in stamp order, paged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from chat_common import wire
from chat_common.errors import ChatError, EpochChanged, Invalid
from chat_common.records import Caller
from msgspec import UNSET, UnsetType
from sqlalchemy import BigInteger, Connection, Integer, Text, bindparam, select

from chat_server.store import epoch, pages, rights, views
from chat_server.store.batched_reads import BatchedReads
from chat_server.store.executor import caller_user
from chat_server.store.rights import standing
from chat_server.store.schema import contact, conversation, item, member, message, user, version


@define(kw_only=True)
class Sync:
    """By ``version``: the own list. By ``conversation`` and ``rev``: that conversation."""

    epoch: wire.Ref
    version: wire.Count | None = None
    conversation: wire.Id | None = None
    rev: wire.Count | None = None
    limit: pages.Limit | None = None


@define(kw_only=True)
class HotRoom:
    conversation: str
    rev: int
    seq: int


@define(kw_only=True)
class VersionPage:
    """``version``: how far this page reaches. ``user``: the own profile, when it changed. ``hot``: on the last page."""

    epoch: str
    version: int
    more: bool
    inbox: list[wire.Inbox]
    contacts: list[wire.Contact]
    items: list[wire.Item] = field(factory=list)
    hot: list[HotRoom] = field(factory=list)
    user: wire.User | UnsetType = UNSET


@define(kw_only=True)
class ConversationPage:
    """``rev``: how far this page reaches."""

    rev: int
    more: bool
    messages: list[wire.Message]
    members: list[wire.Member]
    conversation: wire.Conversation | UnsetType = UNSET


Asked = tuple[str, Sync]
Page = VersionPage | ConversationPage


async def sync(reads: BatchedReads[Asked, Page], caller: Caller, request: Sync) -> Page:
    """A page of what changed. `EpochChanged`: another epoch, or a number beyond the head: start over.

    One transaction a page: its rows and the number that it reaches are of one moment. What changes between two pages is
    stamped above the number that the client goes on from, so the next page brings it, whatever it was on.
    """
    me = caller_user(caller)
    if (request.conversation is None) == (request.version is None):
        raise Invalid("Give either version, or conversation and rev.", field="version")
    if (request.conversation is None) != (request.rev is None):
        raise Invalid("rev: A rev is given only together with a conversation.", field="rev")
    return await reads.read((me, request))


def pages_of(
    preview: Callable[[str, Any], str], connection: Connection, asked: Sequence[Asked]
) -> Sequence[Page | Exception]:
    """One page for each who asks."""
    now = epoch.read(connection)
    return [_page(preview, connection, now, me, request) for me, request in asked]


def _page(
    preview: Callable[[str, Any], str], connection: Connection, now: str, me: str, request: Sync
) -> Page | Exception:
    try:
        if request.epoch != now:
            raise EpochChanged("The store is of another epoch. Start over.", field="epoch")
        if request.conversation is None:
            return _own(connection, preview, me, request)
        return _conversation(connection, preview, me, request)
    except ChatError as error:
        return error


def _cut(stamps: list[tuple[int, int]], limit: int, end: int) -> int:
    """How far a page of about ``limit`` rows reaches, given (stamp, rows) pairs: never between rows of one stamp."""
    total, reached = 0, 0
    for stamp, rows in sorted(stamps):
        total += rows
        if total > limit and reached:
            return reached
        reached = stamp
    return end


# Built once: to build a statement costs several times what it takes to run it.
_ME = bindparam("me", type_=Text())
_NAME = bindparam("name", type_=Text())
_HELD = bindparam("held", type_=BigInteger())
_UPTO = bindparam("upto", type_=BigInteger())
_MOST = bindparam("most", type_=Integer())
_PROFILE = (
    select(user, version.c.version.label("head")).join(version, version.c.user == user.c.user).where(user.c.user == _ME)
)
_LIST = (
    views.inbox_query()
    .where(member.c.user == _ME, member.c.version > _HELD, member.c.activity > 0)
    .order_by(member.c.version)
    .limit(_MOST)
)
_CONTACTS = (
    select(contact).where(contact.c.user == _ME, contact.c.version > _HELD).order_by(contact.c.version).limit(_MOST)
)
_ITEMS = select(item).where(item.c.user == _ME, item.c.version > _HELD).order_by(item.c.version).limit(_MOST)
_HOT = (
    select(conversation.c.conversation, conversation.c.head_rev, conversation.c.head_seq)
    .join(member, member.c.conversation == conversation.c.conversation)
    .where(conversation.c.hot, member.c.user == _ME, member.c.to_seq.is_(None))
)
_MESSAGES = (
    select(message).where(message.c.conversation == _NAME, message.c.rev > _HELD).order_by(message.c.rev).limit(_MOST)
)
_MEMBER_REVS = (
    select(member.c.rev)
    .where(member.c.conversation == _NAME, member.c.rev > _HELD, member.c.rev <= _UPTO)
    .order_by(member.c.rev)
    .limit(_MOST)
)
_MEMBERS = (
    select(member)
    .where(member.c.conversation == _NAME, member.c.rev > _HELD, member.c.rev <= _UPTO)
    .order_by(member.c.rev)
)


def _own(connection: Connection, preview: Callable[[str, Any], str], me: str, request: Sync) -> VersionPage:
    profile = connection.execute(_PROFILE, {"me": me}).one()
    head: int = profile.head
    held = request.version or 0
    if held > head:
        raise EpochChanged("This version lies beyond the newest one. Start over.", field="version")
    limit = request.limit or pages.DEFAULT
    since = {"me": me, "held": held, "most": limit + 1}
    rows = connection.execute(_LIST, since).all()
    known = connection.execute(_CONTACTS, since).all()
    given = connection.execute(_ITEMS, since).all() if held < profile.items_version else []
    reached = _cut([(row.version, 1) for row in (*rows, *known, *given)], limit, head)
    more = reached < head
    return VersionPage(
        epoch=request.epoch,
        version=reached,
        more=more,
        inbox=views.inbox_records(connection, [row for row in rows if row.version <= reached], preview),
        contacts=views.contact_records(connection, [row for row in known if row.version <= reached]),
        items=[views.item_record(row) for row in given if row.version <= reached],
        hot=[] if more else _hot(connection, me),
        user=views.user_record(profile) if held < profile.version <= reached else UNSET,
    )


def _hot(connection: Connection, me: str) -> list[HotRoom]:
    """Every hot conversation of one's own: its messages give no versions, so a client compares, and asks for rows that
    it lacks by `inbox.list`."""
    rows = connection.execute(_HOT, {"me": me})
    return [HotRoom(conversation=name, rev=rev, seq=seq) for name, rev, seq in rows]


def _conversation(connection: Connection, preview: views.Previewed, me: str, request: Sync) -> ConversationPage:
    name, held = request.conversation or "", request.rev or 0
    here = standing(connection, me, name, active=False)
    room, mine = here.room, here.member
    if held > room.head_rev:
        raise EpochChanged("This rev lies beyond the newest one. Start over.", field="rev")
    if here.left and held == mine.rev:
        return ConversationPage(rev=held, more=False, messages=[], members=[])  # nothing of it changes any more
    limit = request.limit or pages.DEFAULT
    # A message's rev is never below its seq, so what lies before the first visible seq need not be looked at.
    start = max(held, views.first_visible(here.spans, room.first_kept) - 1)
    messages = connection.execute(_MESSAGES, {"name": name, "held": start, "most": limit + 1}).all()
    end: int = room.head_rev
    if len(messages) > limit:
        messages = messages[:limit]
        end = messages[-1].rev
    fitting = pages.within_bytes(list(messages))
    if len(fitting) < len(messages):
        messages, end = fitting, fitting[-1].rev
    members = _members(connection, name, held, end, limit)
    stamps = [(row.rev, 1) for row in (*messages, *members)]
    changed = held < room.changed_rev <= end
    if changed:
        stamps.append((room.changed_rev, 1))
    reached = _cut(stamps, limit, end)
    seen = [row for row in messages if row.rev <= reached and rights.visible(here.spans, row.seq)]
    known = [row for row in members if row.rev <= reached and _may_see(here, row)]
    more = reached < room.head_rev
    shown = changed and room.changed_rev <= reached and (not here.left or room.changed_rev <= mine.rev)
    if here.left and not more:
        # Nor may any number show what happened after the caller left.
        reached = max(held, mine.rev)
    return ConversationPage(
        rev=reached,
        more=more,
        messages=views.message_records(connection, seen, preview, end_rev=rights.end_rev(here)),
        members=views.member_records(connection, known, direct=room.kind == "direct"),
        conversation=views.conversation_record(room) if shown else UNSET,
    )


def _may_see(here: Any, row: Any) -> bool:
    return not here.left or row.user == here.member.user or row.rev <= here.member.rev


def _members(connection: Connection, name: str, after: int, upto: int, limit: int) -> list[Any]:
    """Memberships stamped in (after, upto], at least one whole stamp, at most about ``limit`` rows and that stamp."""
    between = {"name": name, "held": after, "upto": upto, "most": limit + 1}
    revs = connection.execute(_MEMBER_REVS, between).scalars().all()
    if not revs:
        return []
    return list(connection.execute(_MEMBERS, {"name": name, "held": after, "upto": revs[-1]}))
