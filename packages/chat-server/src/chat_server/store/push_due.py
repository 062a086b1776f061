"""Offline pushes that are owed: one row per user and conversation, written by fan-out, dropped when acknowledged, read
or sent. Everything that touches the table stands here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from attrs import frozen
from sqlalchemy import Connection, and_, bindparam, delete, exists, select, tuple_, update

from chat_server.store.account_schema import push_address
from chat_server.store.schema import conversation, member, push_due
from chat_server.store.statements import CompiledStatement, upsert

PORTION = 200


@frozen
class Owed:
    """What was said in a conversation that these users are to hear of, unless they have it by ``due_at`` (ms)."""

    conversation: str
    users: Collection[str]
    first_seq: int
    last_seq: int
    due_at: int


_ANYBODY = CompiledStatement(select(exists(select(push_address.c.user))))
_OWED = CompiledStatement(select(exists(select(push_due.c.user))))
_DROP = CompiledStatement(
    delete(push_due).where(
        push_due.c.user == bindparam("who_"),
        push_due.c.conversation == bindparam("name_"),
        push_due.c.last_seq <= bindparam("seq_"),
    ),
    "who_",
    "name_",
    "seq_",
)

_AGAIN = CompiledStatement(
    update(push_due)
    .where(push_due.c.user == bindparam("who_"), push_due.c.conversation == bindparam("name_"))
    .values(due_at=bindparam("again_")),
    "who_",
    "name_",
    "again_",
)


def owe(connection: Connection, items: Sequence[Owed]) -> None:
    """One row per member with a push address who has not muted."""
    if not items or not _ANYBODY.all(connection)[0][0]:
        return
    wanted = {user for item in items for user in item.users}
    having = set(
        connection.execute(
            select(push_address.c.user).where(push_address.c.user.in_(sorted(wanted))).distinct()
        ).scalars()
    )
    for item in items:
        users = [user for user in item.users if user in having]
        if not users:
            continue
        unmuted = connection.execute(
            select(member.c.user).where(
                member.c.conversation == item.conversation,
                member.c.user.in_(users),
                ~member.c.muted,
                member.c.to_seq.is_(None),
            )
        ).scalars()
        for user in unmuted:
            connection.execute(
                upsert(connection, push_due)
                .values(
                    user=user,
                    conversation=item.conversation,
                    first_seq=item.first_seq,
                    last_seq=item.last_seq,
                    due_at=item.due_at,
                )
                .on_conflict_do_update(index_elements=["user", "conversation"], set_={"last_seq": item.last_seq})
            )


def anything_owed(connection: Connection) -> bool:
    """Whether there is any row at all: mostly there is none, and nothing needs to be written."""
    return bool(_OWED.all(connection)[0][0])


def drop_acknowledged(connection: Connection, seqs: Mapping[str, Mapping[str, int]]) -> None:
    """Drop what devices have taken in by now: user → conversation → newest seq."""
    _DROP.many(connection, sorted((user, name, seq) for user, own in seqs.items() for name, seq in own.items()))


def due(connection: Connection, now: int, limit: int) -> Sequence[Any]:
    """The rows that are due, the oldest first, each with its member's state and the conversation's name."""
    return connection.execute(
        select(push_due, member.c.read_seq, member.c.muted, member.c.to_seq, conversation.c.name)
        .join(member, and_(member.c.conversation == push_due.c.conversation, member.c.user == push_due.c.user))
        .join(conversation, conversation.c.conversation == push_due.c.conversation)
        .where(push_due.c.due_at <= now)
        .order_by(push_due.c.due_at)
        .limit(limit)
    ).all()


def settle_all(connection: Connection, rows: Sequence[tuple[str, str, int, int | None]]) -> None:
    """Rows of (user, conversation, last seq, when it is due again in ms). None: it was sent, and is dropped, unless
    more has come in the meantime."""
    _DROP.many(connection, sorted((user, name, seq) for user, name, seq, again_at in rows if again_at is None))
    _AGAIN.many(connection, sorted((user, name, again_at) for user, name, _, again_at in rows if again_at is not None))


def bring_forward(connection: Connection, user: str, latest: int) -> None:
    """What is owed to the user is due at ``latest`` (ms): a device that failed until now has a new address."""
    connection.execute(
        update(push_due).where(push_due.c.user == user, push_due.c.due_at > latest).values(due_at=latest)
    )


def drop_purged(connection: Connection) -> bool:
    """Drop what is owed of messages that were deleted, at most 200 rows; whether there may be more."""
    key = tuple_(push_due.c.user, push_due.c.conversation)
    gone = (
        select(push_due.c.user, push_due.c.conversation)
        .join(conversation, conversation.c.conversation == push_due.c.conversation)
        .where(push_due.c.last_seq < conversation.c.first_kept)
        .limit(PORTION)
    )
    return int(connection.execute(delete(push_due).where(key.in_(gone))).rowcount) == PORTION
