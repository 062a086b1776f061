"""Messages that are deleted for good: from the front of a conversation, in portions, with all that hangs on them.

What a portion has deleted lies before ``first_kept``: nobody is shown it any more, and no number is taken again.
Message and front move in one transaction, so that nothing which reads messages needs to ask for the front.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chat_common.ports.files import Attachments
from sqlalchemy import Table, and_, delete, select, tuple_

from chat_server.im.search import index
from chat_server.store.schema import former, message, reaction
from chat_server.store.tx import Room, Tx

PORTION = 200
"""Rows of one portion at most."""
_HANGING = (reaction, former)


def purge(tx: Tx, attachments: Attachments, room: Room, before: int | None) -> bool:
    """Delete the oldest messages of a conversation as long as they are older than ``before`` (ms; None: all of them);
    whether there are more. At most 200 rows go, messages and what hangs on them together, and their entries in the
    index of search. The members learn of it with the last portion, by one stamp.

    A message that is older than the one before it, because the clock was ahead then, waits for that one.
    """
    due = _due(tx, room, before)
    if not due:
        return False
    rest = PORTION
    for table in _HANGING:
        # Of a message with very many reactions some go ahead of it, in portions of their own.
        rest -= _delete_some(tx, table, room.conversation, due[:PORTION][-1].seq, rest)
        if rest == 0:
            return True
    more = len(due) > rest
    due = due[:rest]
    last = due[-1].seq
    here = message.c.conversation == room.conversation
    tx.connection.execute(delete(message).where(here, message.c.seq <= last))
    index.forget(tx.connection, room.conversation, due[0].seq, last)
    for row in due:
        if row.kind in attachments.kinds:
            attachments.detach(tx.connection, room.conversation, row.seq)
    room.first_kept = last + 1
    room.dirty = True
    if last >= room.head_seq:
        room.preview = None
    if not more:
        room.announce()
    return more


def _due(tx: Tx, room: Room, before: int | None) -> Sequence[Any]:
    """The messages to go, at most one more than a portion holds."""
    rows = tx.connection.execute(
        select(message.c.seq, message.c.time, message.c.kind)
        .where(message.c.conversation == room.conversation, message.c.seq >= room.first_kept)
        .order_by(message.c.seq)
        .limit(PORTION + 1)
    )
    due = []
    for row in rows:
        if before is not None and row.time >= before:
            break
        due.append(row)
    return due


def _delete_some(tx: Tx, table: Table[Any], conversation: str, upto: int, most: int) -> int:
    """Delete at most ``most`` rows that hang on messages up to this one, the oldest first; how many there were."""
    key = tuple_(*table.primary_key.columns)
    oldest = (
        select(*table.primary_key.columns)
        .where(and_(table.c.conversation == conversation, table.c.seq <= upto))
        .order_by(*table.primary_key.columns)
        .limit(most)
    )
    return int(tx.connection.execute(delete(table).where(key.in_(oldest))).rowcount)
