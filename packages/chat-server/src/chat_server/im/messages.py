"""What may happen to a stored message: edit, recall, reactions. Each pushes and syncs the whole new message."""

from __future__ import annotations

from typing import Annotated, Any

from attrs import define, evolve
from chat_common import wire
from chat_common.errors import Conflict, Invalid, NotPermitted, RecallExpired
from chat_common.ports.database import Database
from chat_common.ports.files import Attachments
from chat_common.records import Caller, Check
from chat_common.wire import OtherText
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection, and_, delete, func, or_, select, update

from chat_server.im.kinds import Kinds
from chat_server.im.search import index
from chat_server.names import one_emoji
from chat_server.store import pages, rights, views
from chat_server.store.executor import caller_user
from chat_server.store.rights import Standing, enter, standing
from chat_server.store.schema import former, member, message, reaction
from chat_server.store.statements import upsert
from chat_server.store.tx import Room, Tx, missing

Emoji = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"\S")]
USERS_SHOWN = 3
"""Users named for each emoji of a message; all of them are told by ``message.reactions``."""
EMOJI_PER_MESSAGE = 50
"""Different ones. A message that has more, from when the limit was higher, keeps them, and they can be taken away."""


@define(kw_only=True)
class Edit:
    conversation: wire.Id
    seq: wire.Seq
    body: Any


@define(kw_only=True)
class Recall:
    conversation: wire.Id
    seq: wire.Seq


@define(kw_only=True)
class React:
    conversation: wire.Id
    seq: wire.Seq
    emoji: Emoji
    on: bool


@define(kw_only=True)
class Readers:
    conversation: wire.Id
    seq: wire.Seq
    cursor: pages.Cursor | None = None
    limit: pages.Limit | None = None


@define(kw_only=True)
class ReadersPage:
    """``users`` who have read that far, ``count`` of all of them."""

    users: list[str]
    count: int
    cursor: str | UnsetType = UNSET


@define(kw_only=True)
class Reactions:
    conversation: wire.Id
    seq: wire.Seq


@define(kw_only=True)
class ReactionUsers:
    """``users``: at most 100 of those who reacted so."""

    emoji: str
    users: list[str]


@define(kw_only=True)
class ReactionList:
    reactions: list[ReactionUsers]


def _seen(connection: Connection, here: Standing, name: str, seq: int) -> Any:
    """The message, if the caller's intervals hold it; else the same `NotFound` as for one that does not exist."""
    row = None
    if rights.sees(here, seq):
        row = connection.execute(
            select(message).where(message.c.conversation == name, message.c.seq == seq)
        ).one_or_none()
    if row is None:
        raise missing("message")
    return row


def _own(tx: Tx, me: str, name: str, seq: int) -> tuple[Room, Standing, Any]:
    room, here = enter(tx, me, name)
    row = _seen(tx.connection, here, name, seq)
    if row.kind == "system" or row.sender != me:
        raise NotPermitted("This message is not yours.")
    if row.recalled is not None:
        raise Conflict("This message was recalled.")
    return room, here, row


def _change(tx: Tx, room: Room, seq: int, **values: Any) -> wire.Message:
    rev = room.stamp()
    tx.connection.execute(
        update(message)
        .where(message.c.conversation == room.conversation, message.c.seq == seq)
        .values(rev=rev, **values)
    )
    row = room.message(seq)
    return room.show(row)


def edit(kinds: Kinds, seconds: float, tx: Tx, me: str, request: Edit) -> wire.Message:
    """Replace the body of the caller's own message within ``seconds``; the kind stays. It takes the right to speak, as
    a new message does."""
    room, here, row = _own(tx, me, request.conversation, request.seq)
    rights.speaks(tx.connection, here, tx.now)
    if tx.now - row.time > seconds * 1000:
        raise Conflict(f"A message can be edited for {seconds:g} seconds.", limit=int(seconds))
    kind, body = kinds.read(row.kind, request.body)
    if not kind.editable:
        raise Invalid(f"A message of kind {row.kind} cannot be edited.", field="seq")
    _keep_former(tx, row, room.head_rev + 1)
    return _change(tx, room, request.seq, body=views.as_json(body), edited_at=tx.now)


async def screens_edit(database: Database, check: Check, caller: Caller, request: Edit) -> Edit:
    """The new body as a message of its kind, for the interceptors. What cannot be edited is refused by `edit`."""

    def kind_of(connection: Connection) -> str | None:
        wanted = message.c.conversation == request.conversation, message.c.seq == request.seq
        return connection.execute(select(message.c.kind).where(*wanted)).scalar_one_or_none()

    kind = await database.read(kind_of) or "text"
    said = OtherText(conversation=request.conversation, kind=kind, body=request.body, target="message.edit")
    return evolve(request, body=(await check(caller, said)).body)


def _as_given(emoji: str) -> str:
    """Reactions from before there was a rule can be taken away as well."""
    try:
        return one_emoji(emoji)
    except Invalid:
        return emoji


def _keep_former(tx: Tx, row: Any, until: int) -> None:
    """What the message says before the rev ``until``, for those who have left and may see it; often nobody."""
    seen_by_left = select(member.c.user).where(
        member.c.conversation == row.conversation, member.c.to_seq.is_not(None), member.c.to_seq >= row.seq
    )
    if tx.connection.execute(seen_by_left.limit(1)).first() is not None:
        before = {"body": row.body, "edited_at": row.edited_at}
        tx.connection.execute(
            former.insert(), {"conversation": row.conversation, "seq": row.seq, "until": until, **before}
        )


def recall(seconds: float, attachments: Attachments, tx: Tx, me: str, request: Recall) -> wire.Message:
    """Take back the caller's own message within ``seconds``: its body and its files are deleted, the row stays."""
    room, _, row = _own(tx, me, request.conversation, request.seq)
    if tx.now - row.time > seconds * 1000:
        raise RecallExpired(f"A message can be recalled for {seconds:g} seconds after it was sent.", limit=int(seconds))
    return take_back(attachments, tx, room, row, me)


def take_down(attachments: Attachments, tx: Tx, name: str, seq: int) -> wire.Message:
    """Recall anybody's message for those who run the server, at any time. Members are not told which of them it was.
    `NotFound`; `Conflict` for a message of the server's own. Nothing happens to one that was recalled."""
    room = tx.room(name)
    row = tx.connection.execute(
        select(message).where(message.c.conversation == name, message.c.seq == seq)
    ).one_or_none()
    if row is None:
        raise missing("message")
    if row.kind == "system":
        raise Conflict("The server itself wrote this message.", field="seq")
    if row.recalled is not None:
        return views.message_record(tx.connection, row, tx.preview)
    return take_back(attachments, tx, room, row, wire.MODERATORS)


def take_back(attachments: Attachments, tx: Tx, room: Room, row: Any, by: str) -> wire.Message:
    """Delete the body of a message, its files, its reactions, what it said before it was edited, and the hash of its
    request, from which a short text could be guessed."""
    name, seq = row.conversation, row.seq
    tx.connection.execute(delete(reaction).where(reaction.c.conversation == name, reaction.c.seq == seq))
    tx.connection.execute(delete(former).where(former.c.conversation == name, former.c.seq == seq))
    index.forget(tx.connection, name, seq, seq)
    if row.kind in attachments.kinds:
        attachments.detach(tx.connection, name, seq)
    gone = views.as_json(wire.Recalled(by=by, time=tx.now))
    return _change(tx, room, seq, recalled=gone, hash=b"", body=None, reply=None, mentions=None, reactions=None)


def react(tx: Tx, me: str, request: React) -> wire.Message:
    """Set or remove the caller's reaction; totals stand in the message. It takes the right to speak."""
    room, here = enter(tx, me, request.conversation)
    rights.speaks(tx.connection, here, tx.now)
    row = _seen(tx.connection, here, request.conversation, request.seq)
    if row.recalled is not None:
        raise Conflict("This message was recalled.")
    emoji = one_emoji(request.emoji) if request.on else _as_given(request.emoji)
    key = and_(reaction.c.conversation == request.conversation, reaction.c.seq == request.seq)
    mine = and_(key, reaction.c.emoji == emoji, reaction.c.user == me)
    if request.on:
        done = tx.connection.execute(
            upsert(tx.connection, reaction)
            .values(conversation=request.conversation, seq=request.seq, emoji=emoji, user=me, time=tx.now)
            .on_conflict_do_nothing()
        ).rowcount
    else:
        done = tx.connection.execute(delete(reaction).where(mine)).rowcount
    if not done:
        return views.message_record(tx.connection, row, tx.preview)
    totals = tx.connection.execute(
        select(reaction.c.emoji, func.count().label("count"), func.min(reaction.c.time).label("first"))
        .where(key)
        .group_by(reaction.c.emoji)
        .order_by("first", reaction.c.emoji)
    ).all()
    if request.on and len(totals) > EMOJI_PER_MESSAGE:
        raise Conflict(
            f"This message already has the most different reactions that it can have: {EMOJI_PER_MESSAGE}.",
            field="emoji",
            limit=EMOJI_PER_MESSAGE,
        )
    first = _first_of_each(tx, key)
    summed = [wire.Reaction(emoji=it.emoji, count=it._mapping["count"], users=first[it.emoji]) for it in totals]
    return _change(tx, room, request.seq, reactions=views.as_json(summed) if summed else None)


def _first_of_each(tx: Tx, key: Any) -> dict[str, list[str]]:
    """Of each emoji the first users who reacted so: of few reactions all, so that a client need not ask who it was."""
    order = [reaction.c.time, reaction.c.user]
    place = func.row_number().over(partition_by=reaction.c.emoji, order_by=order).label("place")
    numbered = select(reaction.c.emoji, reaction.c.user, place).where(key).subquery()
    found: dict[str, list[str]] = {}
    rows = select(numbered.c.emoji, numbered.c.user).where(numbered.c.place <= USERS_SHOWN).order_by(numbered.c.place)
    for emoji, who in tx.connection.execute(rows):
        found.setdefault(emoji, []).append(who)
    return found


async def reactions(database: Database, caller: Caller, request: Reactions) -> ReactionList:
    """Who reacted how."""
    me = caller_user(caller)

    def page(connection: Connection) -> ReactionList:
        here = standing(connection, me, request.conversation)
        _seen(connection, here, request.conversation, request.seq)
        rows = connection.execute(
            select(reaction.c.emoji, reaction.c.user)
            .where(reaction.c.conversation == request.conversation, reaction.c.seq == request.seq)
            .order_by(reaction.c.time, reaction.c.user)
            .limit(EMOJI_PER_MESSAGE * 100)
        )
        found: dict[str, list[str]] = {}
        for emoji, who in rows:
            users = found.setdefault(emoji, [])
            if len(users) < 100:
                users.append(who)
        return ReactionList(reactions=[ReactionUsers(emoji=emoji, users=users) for emoji, users in found.items()])

    return await database.read(page)


async def readers(database: Database, caller: Caller, request: Readers) -> ReadersPage:
    """Members other than the sender whose read pointer passed this message."""
    me = caller_user(caller)
    after = "" if request.cursor is None else pages.read_cursor("message.readers", request.cursor, tuple[str])[0]
    limit = request.limit or pages.DEFAULT

    def page(connection: Connection) -> ReadersPage:
        here = standing(connection, me, request.conversation)
        row = _seen(connection, here, request.conversation, request.seq)
        have_read = and_(
            member.c.conversation == request.conversation,
            member.c.user != row.sender,
            member.c.to_seq.is_(None),
            member.c.from_seq <= request.seq,
            or_(member.c.read_seq >= request.seq, member.c.own_seq >= request.seq),
        )
        users = list(
            connection.execute(
                select(member.c.user).where(have_read, member.c.user > after).order_by(member.c.user).limit(limit + 1)
            ).scalars()
        )
        count = connection.execute(select(func.count()).select_from(member).where(have_read)).scalar_one()
        more = len(users) > limit
        return ReadersPage(
            users=users[:limit],
            count=count,
            cursor=pages.write_cursor("message.readers", users[limit - 1]) if more else UNSET,
        )

    return await database.read(page)
