"""What a deleted account has said: recalled everywhere, or left; and what nobody is left to read.

Each function does one portion: it takes where the last one came to (at first "") and returns where the next one goes
on, or None when it is done. A portion done twice does no harm.
"""

from __future__ import annotations

from typing import Any

import msgspec
from chat_common.ports.files import Attachments
from sqlalchemy import exists, select, update

from chat_server.im.messages import take_back
from chat_server.im.purge import purge
from chat_server.store import views
from chat_server.store.schema import member, message, user
from chat_server.store.tx import Tx

LOOKED_AT, RECALLED, ROOMS = 500, 100, 50
"""Messages looked at, messages recalled, and conversations of one portion at most."""
_WRITTEN = ("name", "announcement", "avatar")
"""What a system message repeats of what its actor has written."""


def recall_all(attachments: Attachments, tx: Tx, who: str, after: str) -> str | None:
    """Recall the user's messages in the conversations that the user was in, one conversation after the other; what
    system messages repeat of the user's words goes as well. Whoever sees them is told of each."""
    name, seq = _place(after)
    looked, recalled = LOOKED_AT, RECALLED
    while looked > 0 and recalled > 0:
        if seq is None:
            mine = _next_membership(tx, who, name)
            if mine is None:
                return None
            name, seq = mine.conversation, views.spans_of(mine)[0][0] - 1
        rows = tx.connection.execute(
            select(message)
            .where(message.c.conversation == name, message.c.seq > seq)
            .order_by(message.c.seq)
            .limit(looked)
        ).all()
        for row in rows:
            seq = row.seq
            if row.sender == who and row.recalled is None and _take_back(attachments, tx, row):
                recalled -= 1
                if recalled == 0:
                    break
        else:
            if len(rows) < looked:
                seq = None
        looked -= max(1, len(rows))
    return f"{name} {'' if seq is None else seq}"


def _place(after: str) -> tuple[str, int | None]:
    """Where to go on: in this conversation behind that number; None: with the next conversation."""
    name, _, seq = after.partition(" ")
    return name, int(seq) if seq else None


def _next_membership(tx: Tx, who: str, after: str) -> Any:
    return tx.connection.execute(
        select(member)
        .where(member.c.user == who, member.c.conversation > after)
        .order_by(member.c.conversation)
        .limit(1)
    ).one_or_none()


def _take_back(attachments: Attachments, tx: Tx, row: Any) -> bool:
    """Whether there was something to take back. The row was read before its conversation was locked."""
    room = tx.room(row.conversation)
    row = room.message(row.seq)
    if row.recalled is not None:
        return False
    if row.kind != "system":
        take_back(attachments, tx, room, row, row.sender)
        return True
    body = msgspec.json.decode(row.body)
    args = {key: value for key, value in body["args"].items() if key not in _WRITTEN}
    if args == body["args"]:
        return False
    own = message.c.conversation == row.conversation, message.c.seq == row.seq
    values = {"rev": room.stamp(), "body": views.as_json({**body, "args": args})}
    tx.connection.execute(update(message).where(*own).values(**values))
    room.show(room.message(row.seq))
    return True


def purge_unread(attachments: Attachments, tx: Tx, who: str, after: str) -> str | None:
    """Delete all messages of conversations that no account is left to read."""
    names = list(
        tx.connection.execute(
            select(member.c.conversation)
            .where(member.c.user == who, member.c.conversation > after)
            .order_by(member.c.conversation)
            .limit(ROOMS)
        ).scalars()
    )
    for name in names:
        reads = exists().where(
            member.c.conversation == name,
            member.c.rev > 0,
            member.c.user == user.c.user,
            user.c.deleted_at.is_(None),
        )
        if not tx.connection.execute(select(reads)).scalar_one():
            more = purge(tx, attachments, tx.room(name), None)
            return after if more else name
        after = name
    return after if len(names) == ROOMS else None
