"""Submit: the commit path. All that waits is stored as one set-based transaction.

Per batch: lock the conversations (in id order), resolve refs, read memberships, mutes and bans, take numbers, insert
messages, write heads, one outbox row a conversation. A receipt exists only after the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from attrs import define, evolve, field
from chat_common import wire
from chat_common.clock import Clock
from chat_common.errors import ChatError, Invalid, NotFound, NotPermitted, RefConflict
from chat_common.ports.database import Database
from chat_common.ports.files import Attachments, NoAttachments
from chat_common.ports.outbox import Outbox
from chat_common.records import Caller, Push
from chat_common.wire import Receipt, SubmitMessage
from sqlalchemy import Connection, bindparam, select, update

from chat_server.im.kinds import Kinds, shorten
from chat_server.store import rights, views
from chat_server.store.executor import caller_user
from chat_server.store.messages import NewMessage, write_messages
from chat_server.store.replies import request_hash
from chat_server.store.schema import conversation, member, message, reply
from chat_server.store.statements import CompiledStatement, any_of, any_pair, pairs, texts
from chat_server.store.topics import announce, stored_entry
from chat_server.store.tx import missing

EVERYBODY = "@all"
_RECALLED = b""
"""The hash of a message that was recalled: its ref still gives its receipt, whatever it is repeated with."""


@define
class Item:
    """One message on its way into the store."""

    user: str
    ref: str
    digest: bytes
    request: SubmitMessage
    body: Any
    stored_body: str
    preview: str
    quote: wire.Quote | None = None


@define
class _Head:
    """A conversation's row while the batch counts it up."""

    kind: str
    seq: int
    rev: int
    time: int
    first_kept: int
    all_seq: int
    muted_until: int | None
    preview: str | None
    first_rev: int = 0
    pushes: list[Push] = field(factory=list)


_HEADS = CompiledStatement(
    select(
        conversation.c.conversation,
        conversation.c.kind,
        conversation.c.head_seq,
        conversation.c.head_rev,
        conversation.c.head_time,
        conversation.c.first_kept,
        conversation.c.all_seq,
        conversation.c.muted_until,
        conversation.c.preview,
    )
    .where(any_of(conversation.c.conversation, "names"))
    .order_by(conversation.c.conversation)
    .with_for_update(),
    "names",
)
_KNOWN = CompiledStatement(
    select(
        message.c.ref,
        message.c.sender,
        message.c.hash,
        message.c.conversation,
        message.c.seq,
        message.c.first_rev,
        message.c.time,
    ).where(any_of(message.c.ref, "refs")),
    "refs",
)
_SPENT = CompiledStatement(select(reply.c.user, reply.c.ref).where(any_pair(reply.c.user, reply.c.ref, "keys")), "keys")
_MEMBERS = CompiledStatement(
    select(
        member.c.conversation,
        member.c.user,
        member.c.role,
        member.c.rev,
        member.c.from_seq,
        member.c.to_seq,
        member.c.earlier,
        member.c.muted_until,
        member.c.silenced,
    ).where(any_pair(member.c.conversation, member.c.user, "places")),
    "places",
)
_SAVE_HEAD = CompiledStatement(
    update(conversation)
    .where(conversation.c.conversation == bindparam("name_"))
    .values(
        head_seq=bindparam("seq_"),
        head_rev=bindparam("rev_"),
        head_time=bindparam("at_"),
        touched_at=bindparam("at_"),
        all_seq=bindparam("everybody_"),
        preview=bindparam("line_"),
    ),
    "name_",
    "seq_",
    "rev_",
    "at_",
    "everybody_",
    "line_",
)
_SAVE_OWN = CompiledStatement(
    update(member)
    .where(member.c.conversation == bindparam("name_"), member.c.user == bindparam("who_"))
    .values(own_seq=bindparam("seq_")),
    "name_",
    "who_",
    "seq_",
)


class Submit:
    """Stores messages; any number of callers at once."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        clock: Clock,
        kinds: Kinds,
        attachments: Attachments | None = None,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._kinds = kinds
        self._attachments = attachments or NoAttachments()
        self._apply_bound = self._apply  # one object, so that the writer sees that items share it

    async def submit(self, caller: Caller, request: SubmitMessage) -> Receipt:
        """The receipt, after message, numbers and outbox row are on disk.

        Same (user, ref) and payload → the original receipt; other payload → `RefConflict`. `NotFound`, `NotAMember`,
        `NotPermitted` (muted, banned, blocked), `Invalid` (kind, body, mentions, reply_to).
        Submits of one caller are stored in the order in which this was called.
        """
        user = caller_user(caller)
        if request.mentions == []:
            request = evolve(request, mentions=None)
        kind, body = self._kinds.read(request.kind, request.body)
        stored = msgspec.json.encode(body)
        item = Item(
            user=user,
            ref=caller.ref,
            digest=caller.request_hash or request_hash("submit", request),
            request=request,
            body=msgspec.json.decode(stored),
            stored_body=stored.decode(),
            preview=shorten(kind.preview(body)),
        )
        if request.mentions is not None:
            _check_mentions(request.mentions)
        receipt: Receipt = await self._database.change_many(self._apply_bound, item, by=user)
        return receipt

    def _apply(self, connection: Connection, items: Sequence[Item]) -> Sequence[Receipt | ChatError]:
        now = self._clock.wall_ms()
        heads = _lock_heads(connection, items)
        known = _known_refs(connection, items)
        members = _memberships(connection, items)
        spent = {(row.user, row.ref) for row in _SPENT.all(connection, pairs((item.user, item.ref) for item in items))}
        banned = rights.banned(connection, (item.user for item in items), now)
        outcomes: list[Receipt | ChatError] = []
        made: list[NewMessage] = []
        own: dict[tuple[str, str], int] = {}
        for item in items:
            before = known.get((item.user, item.ref))
            if before is not None:
                outcomes.append(_repeated(item, before))
                continue
            if (item.user, item.ref) in spent:
                outcomes.append(RefConflict("This ref was already used for another command.", field="ref"))
                continue
            name = item.request.conversation
            try:
                head = heads.get(name)
                mine = members.get((name, item.user))
                if head is None or mine is None:
                    raise missing("conversation")
                rights.may_speak(head, mine, item.user in banned, now)
                self._check_references(connection, item, head, mine, made)
                if item.request.kind in self._attachments.kinds:
                    self._attach(connection, item, head.seq + 1)
            except ChatError as error:
                outcomes.append(error)
                continue
            receipt = _number(item, head, now)
            known[item.user, item.ref] = (item.digest, receipt)
            own[name, item.user] = receipt.seq
            stored = _made(item, receipt)
            made.append(stored)
            head.pushes.append(stored.push())
            outcomes.append(receipt)
        if made:
            write_messages(connection, made)
            changed = {name: head for name, head in sorted(heads.items()) if head.first_rev}
            _SAVE_HEAD.many(
                connection,
                [(name, head.seq, head.rev, head.time, head.all_seq, head.preview) for name, head in changed.items()],
            )
            _SAVE_OWN.many(connection, [(name, who, seq) for (name, who), seq in sorted(own.items())])
            announce(
                connection,
                self._outbox,
                [stored_entry(name, head.first_rev, head.rev, head.pushes) for name, head in changed.items()],
            )
        return outcomes

    def _check_references(
        self, connection: Connection, item: Item, head: _Head, mine: Any, fresh: Sequence[NewMessage]
    ) -> None:
        """Quoted message and mentioned users, for the few messages that have them."""
        request = item.request
        if request.reply_to is not None:
            item.quote = self._quote(connection, item, head, mine, fresh)
        if request.mentions:
            if request.mentions == [EVERYBODY]:
                if head.kind != "group":
                    raise Invalid("mentions: @all can be used only in groups.", field="mentions")
                if not rights.has(mine, "mention_all"):
                    raise NotPermitted("mentions: You may not mention everybody in this group.", field="mentions")
                return
            present = set(
                connection.execute(
                    select(member.c.user).where(
                        member.c.conversation == request.conversation,
                        member.c.user.in_(request.mentions),
                        member.c.to_seq.is_(None),
                    )
                ).scalars()
            )
            if not present.issuperset(request.mentions):
                raise Invalid("mentions: Only members of this conversation may be mentioned.", field="mentions")

    def _attach(self, connection: Connection, item: Item, seq: int) -> None:
        """Last of the checks, as it writes: from here on the message gets its number."""
        request = item.request
        item.body = self._attachments.attach(connection, item.user, request.conversation, seq, request.kind, item.body)
        item.stored_body = views.as_json(item.body)
        item.preview = self._kinds.preview(request.kind, item.body)

    def _quote(
        self, connection: Connection, item: Item, head: _Head, mine: Any, fresh: Sequence[NewMessage]
    ) -> wire.Quote:
        seq = item.request.reply_to or 0
        name = item.request.conversation
        gone = NotFound("reply_to: There is no such message in this conversation.", field="reply_to")
        if seq > head.seq or seq < head.first_kept or not rights.visible(views.spans_of(mine), seq):
            raise gone
        for made in fresh:
            if made.conversation == name and made.seq == seq:
                text = self._kinds.preview(made.kind, made.body)
                return wire.Quote(seq=seq, sender=made.sender, kind=made.kind, text=text)
        found = connection.execute(
            select(message).where(message.c.conversation == name, message.c.seq == seq)
        ).one_or_none()
        if found is None:
            raise gone
        return views.quote_of(found, self._kinds.preview)


def _check_mentions(mentions: list[str]) -> None:
    if len(set(mentions)) != len(mentions):
        raise Invalid("mentions: Each user may be mentioned once.", field="mentions")
    if EVERYBODY in mentions and len(mentions) > 1:
        raise Invalid("mentions: Mention either @all or single users.", field="mentions")


def _lock_heads(connection: Connection, items: Sequence[Item]) -> dict[str, _Head]:
    names = texts(connection, (item.request.conversation for item in items))
    return {name: _Head(*rest) for name, *rest in _HEADS.all(connection, names)}


def _known_refs(connection: Connection, items: Sequence[Item]) -> dict[tuple[str, str], tuple[bytes, Receipt]]:
    return {
        (row.sender, row.ref): (
            bytes(row.hash),
            Receipt(conversation=row.conversation, seq=row.seq, rev=row.first_rev, time=row.time),
        )
        for row in _KNOWN.all(connection, texts(connection, (item.ref for item in items)))
    }


def _memberships(connection: Connection, items: Sequence[Item]) -> dict[tuple[str, str], Any]:
    rows = _MEMBERS.all(connection, pairs((item.request.conversation, item.user) for item in items))
    return {(row.conversation, row.user): row for row in rows}


def _repeated(item: Item, before: tuple[bytes, Receipt]) -> Receipt | ChatError:
    if before[0] not in (item.digest, _RECALLED):
        return RefConflict("This ref was already used for another request.", field="ref")
    return before[1]


def _number(item: Item, head: _Head, now: int) -> Receipt:
    head.seq += 1
    head.rev += 1
    head.time = now  # the clock's, even where it was ahead for a while: order is the business of seq
    head.first_rev = head.first_rev or head.rev
    head.preview = views.as_json(wire.Preview(sender=item.user, kind=item.request.kind, text=item.preview))
    if item.request.mentions == [EVERYBODY]:
        head.all_seq = head.seq
    return Receipt(conversation=item.request.conversation, seq=head.seq, rev=head.rev, time=head.time)


def _made(item: Item, receipt: Receipt) -> NewMessage:
    return NewMessage(
        conversation=receipt.conversation,
        seq=receipt.seq,
        rev=receipt.rev,
        sender=item.user,
        ref=item.ref,
        digest=item.digest,
        kind=item.request.kind,
        body=item.body,
        stored_body=item.stored_body,
        time=receipt.time,
        quote=item.quote,
        mentions=item.request.mentions,
    )
