"""Rows as the records of the wire: one place for each, so that a push, a page and a sync can never differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from chat_common import wire
from chat_common.events import MembersChanged
from chat_common.records import Push
from msgspec import UNSET
from sqlalchemy import Connection, Row, and_, or_, select

from chat_server.names.confusables import look
from chat_server.store.retention import days_of
from chat_server.store.schema import conversation, former, member, message, user

_recalled = msgspec.json.Decoder(wire.Recalled)
_reactions = msgspec.json.Decoder(list[wire.Reaction])
_strings = msgspec.json.Decoder(list[str])
_spans = msgspec.json.Decoder(list[list[int]])
_preview = msgspec.json.Decoder(wire.Preview)
_badge = msgspec.json.Decoder(wire.Badge)


def as_json(value: Any) -> str:
    """JSON text as it is stored."""
    return msgspec.json.encode(value).decode()


def or_unset(value: Any) -> Any:
    """Absent means absent: what is NULL in a row is not on the wire."""
    return UNSET if value is None else value


def user_record(row: Row[Any]) -> wire.User:
    return wire.User(
        user=row.user,
        name=row.name,
        avatar=or_unset(row.avatar),
        badge=UNSET if row.badge is None else _badge.decode(row.badge),
        deleted=UNSET if row.deleted_at is None else True,
        handle=or_unset(row.handle),
        skeleton=or_unset(look(row.name)),
    )


def item_record(row: Row[Any]) -> wire.Item:
    return wire.Item(
        key=row.key, item=row.item, granted_at=row.granted_at, version=row.version, spent_at=or_unset(row.spent_at)
    )


def users_by_id(connection: Connection, ids: Iterable[str]) -> dict[str, wire.User]:
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    rows = connection.execute(select(user).where(user.c.user.in_(wanted)))
    return {row.user: user_record(row) for row in rows}


Previewed = Callable[[str, Any], str]
"""(kind, body) → the short form of a message: the content kinds' own."""


def message_record(connection: Connection, row: Row[Any], preview: Previewed) -> wire.Message:
    """One message; see `message_records`."""
    return message_records(connection, [row], preview)[0]


def message_records(
    connection: Connection, rows: Sequence[Row[Any]], preview: Previewed, *, end_rev: int | None = None
) -> list[wire.Message]:
    """Messages as they are now, quotes made from the quoted messages as those are now: what was recalled stands in no
    quote any more. ``end_rev``: the rev at which the reader left; what changed later is shown as it was then, without
    reactions (their state is not kept)."""
    quotes = _quotes(connection, rows, preview)
    changed = [row for row in rows if end_rev is not None and row.rev > end_rev]
    former = {} if end_rev is None else _former(connection, changed, end_rev)
    records = []
    for row in rows:
        record = _message(row, quotes.get((row.conversation, row.reply)))
        if end_rev is not None and row.rev > end_rev:
            record.rev = end_rev
            record.reactions = UNSET
            before = former.get((row.conversation, row.seq))
            if before is not None and row.recalled is None:
                record.body = msgspec.json.decode(before.body)
                record.edited_at = or_unset(before.edited_at)
        records.append(record)
    return records


def _message(row: Row[Any], quote: wire.Quote | None) -> wire.Message:
    recalled = row.recalled is not None
    return wire.Message(
        conversation=row.conversation,
        seq=row.seq,
        rev=row.rev,
        sender=row.sender,
        ref=row.ref,
        kind=row.kind,
        time=row.time,
        body=UNSET if recalled or row.body is None else msgspec.json.decode(row.body),
        reply_to=UNSET if recalled or quote is None else quote,
        mentions=UNSET if recalled or row.mentions is None else _strings.decode(row.mentions),
        edited_at=UNSET if recalled else or_unset(row.edited_at),
        recalled=UNSET if row.recalled is None else _recalled.decode(row.recalled),
        reactions=UNSET if recalled or not row.reactions else _reactions.decode(row.reactions),
    )


def quote_of(row: Row[Any], preview: Previewed) -> wire.Quote:
    """A stored message as others quote it."""
    line = preview_of_row(row, preview)
    return wire.Quote(seq=row.seq, sender=line.sender, kind=line.kind, text=line.text)


def _quotes(
    connection: Connection, rows: Sequence[Row[Any]], preview: Previewed
) -> dict[tuple[str, str | None], wire.Quote]:
    """By (conversation, number as it is stored)."""
    wanted: dict[str, set[int]] = {}
    for row in rows:
        if row.reply is not None and row.recalled is None:
            wanted.setdefault(row.conversation, set()).add(int(row.reply))
    found: dict[tuple[str, str | None], wire.Quote] = {}
    for name, seqs in wanted.items():
        quoted = connection.execute(
            select(message).where(message.c.conversation == name, message.c.seq.in_(sorted(seqs)))
        )
        found.update({(name, str(row.seq)): quote_of(row, preview) for row in quoted})
    return found


def _former(connection: Connection, rows: Sequence[Row[Any]], end_rev: int) -> dict[tuple[str, int], Row[Any]]:
    """The bodies that edited messages had at ``end_rev``."""
    edited = [row for row in rows if row.edited_at is not None]
    if not edited:
        return {}
    newest_first = connection.execute(
        select(former)
        .where(
            former.c.conversation.in_({row.conversation for row in edited}),
            former.c.seq.in_(sorted({row.seq for row in edited})),
            former.c.until > end_rev,
        )
        .order_by(former.c.until.desc())
    )
    return {(row.conversation, row.seq): row for row in newest_first}


def spans_of(row: Row[Any] | Mapping[str, Any]) -> list[list[int]]:
    """All intervals of a membership, oldest first: ``[from, to]`` closed, ``[from]`` open."""
    get = row.__getitem__ if isinstance(row, Mapping) else lambda name: getattr(row, name)
    spans = [] if get("earlier") is None else _spans.decode(get("earlier"))
    last = [get("from_seq")] if get("to_seq") is None else [get("from_seq"), get("to_seq")]
    return [*spans, last]


def member_record(row: Row[Any], who: wire.User, *, direct: bool) -> wire.Member:
    return wire.Member(
        conversation=row.conversation,
        rev=row.rev,
        user=who,
        role="member" if row.role == "pending" else row.role,
        spans=spans_of(row),
        joined_at=row.joined_at,
        muted_until=or_unset(row.muted_until),
        read=row.read_seq if direct else UNSET,
    )


def member_records(connection: Connection, rows: Sequence[Row[Any]], *, direct: bool) -> list[wire.Member]:
    who = users_by_id(connection, (row.user for row in rows))
    return [member_record(row, who[row.user], direct=direct) for row in rows]


def conversation_record(row: Any) -> wire.Conversation:
    return wire.Conversation(
        conversation=row.conversation,
        rev=row.changed_rev,
        kind=row.kind,
        members=row.members,
        name=or_unset(row.name),
        avatar=or_unset(row.avatar),
        announcement=or_unset(row.announcement),
        muted_until=or_unset(row.muted_until),
        dissolved=True if row.dissolved else UNSET,
        invites=UNSET if row.invites == "members" else row.invites,
        first_seq=UNSET if row.first_kept == 1 else row.first_kept,
        kept_days=days_of(row, 0) or UNSET,
    )


_LISTED = (
    conversation.c.kind,
    conversation.c.name,
    conversation.c.avatar,
    conversation.c.head_seq,
    conversation.c.head_rev,
    conversation.c.head_time,
    conversation.c.preview,
    conversation.c.first_kept,
    conversation.c.all_seq,
    conversation.c.hot,
    conversation.c.direct_key,
)


def inbox_query() -> Any:
    """Memberships joined with their conversations, as `inbox_records` wants them."""
    return select(member, *_LISTED).join(conversation, conversation.c.conversation == member.c.conversation)


def first_visible(spans: Sequence[Sequence[int]], first_kept: int) -> int:
    """The seq at which what one may see begins (it may lie beyond the head: nothing yet)."""
    for span in spans:
        if len(span) == 1 or span[1] >= first_kept:
            return max(span[0], first_kept)
    return max(spans[-1][0], first_kept)


def peer_of(direct_key: str, me: str) -> str:
    """The other one of a direct chat (oneself in a chat with oneself)."""
    first, second = direct_key.split(":", 1)
    return second if first == me else first


def _end_heads(connection: Connection, rows: Sequence[Row[Any]]) -> dict[str, Row[Any]]:
    """The last message that one who has left may see, by conversation."""
    wanted = [(row.conversation, row.to_seq) for row in rows if row.to_seq is not None and row.to_seq > 0]
    if not wanted:
        return {}
    found = connection.execute(
        select(message).where(
            or_(*(and_(message.c.conversation == name, message.c.seq == seq) for name, seq in wanted))
        )
    )
    return {row.conversation: row for row in found}


def preview_of_row(row: Row[Any], preview: Any) -> wire.Preview | Any:
    """The short form of a stored message; ``preview(kind, body)`` is the content kinds' own."""
    if row.recalled is not None:
        return wire.Preview(sender=row.sender, kind="recalled", text="")
    return wire.Preview(sender=row.sender, kind=row.kind, text=preview(row.kind, msgspec.json.decode(row.body or "{}")))


def inbox_records(connection: Connection, rows: Sequence[Row[Any]], preview: Any) -> list[wire.Inbox]:
    """What one user sees of these memberships. Head and unread always come from the conversation's row."""
    peers = users_by_id(connection, (peer_of(row.direct_key, row.user) for row in rows if row.direct_key is not None))
    inviters = users_by_id(connection, (row.invited_by for row in rows if row.invited_by is not None))
    ends = _end_heads(connection, rows)
    result = []
    for row in rows:
        spans = spans_of(row)
        left = row.to_seq is not None
        first = first_visible(spans, row.first_kept)
        if left:
            end = ends.get(row.conversation)
            head = wire.Head(
                seq=row.to_seq,
                rev=row.rev,
                time=row.joined_at if end is None else end.time,
                preview=UNSET if end is None or end.seq < first else preview_of_row(end, preview),
            )
        else:
            shown = row.preview is not None and row.head_seq >= first
            head = wire.Head(
                seq=row.head_seq,
                rev=row.head_rev,
                time=row.head_time,
                preview=_preview.decode(row.preview) if shown else UNSET,
            )
        mentioned = max(row.mention_seq, row.all_seq if not left else 0)
        seen = max(row.read_seq, row.own_seq)
        revived = row.hot and not left and row.head_time > row.activity
        result.append(
            wire.Inbox(
                conversation=row.conversation,
                kind=row.kind,
                name=or_unset(row.end_name if left else row.name) if row.direct_key is None else UNSET,
                avatar=or_unset(row.end_avatar if left else row.avatar),
                peer=peers[peer_of(row.direct_key, row.user)] if row.direct_key is not None else UNSET,
                spans=spans,
                first_seq=first,
                head=head,
                read=row.read_seq,
                unread=unread_of(row, head.seq),
                role="member" if row.role == "pending" else row.role,
                order=max(row.activity, row.head_time) if row.hot and not left else row.activity,
                version=row.version if row.version else UNSET,
                mentioned=mentioned if mentioned > seen and mentioned >= first else UNSET,
                muted=True if row.muted else UNSET,
                pinned=True if row.pinned else UNSET,
                marked_unread=True if row.marked else UNSET,
                hidden=True if row.hidden and not revived else UNSET,
                left=True if left and row.role != "pending" else UNSET,
                pending=True if row.role == "pending" else UNSET,
                invited_by=or_unset(inviters.get(row.invited_by)) if row.role == "pending" else UNSET,
            )
        )
    return result


def unread_of(row: Any, head_seq: int) -> int:
    """``max(0, head − max(read, from − 1, first kept − 1, own last))``: never a COUNT."""
    return int(max(0, head_seq - max(row.read_seq, row.from_seq - 1, row.first_kept - 1, row.own_seq)))


def contact_records(connection: Connection, rows: Sequence[Row[Any]]) -> list[wire.Contact]:
    """What one user sees of these contacts."""
    who = users_by_id(connection, (row.other for row in rows))
    return [
        wire.Contact(
            user=who[row.other],
            state=row.state,
            version=row.version,
            text=or_unset(row.text) if row.state == "asked" else UNSET,
            asked_by=or_unset(row.asked_by) if row.state == "asked" else UNSET,
            blocked=True if row.blocked else UNSET,
        )
        for row in rows
    ]


def members_push(name: str, records: Sequence[wire.Member], rev: int, since: int) -> Push:
    """Memberships that share a stamp are pushed as one event."""
    return Push("members", MembersChanged(conversation=name, rev=rev, members=list(records)), name, rev, since)
