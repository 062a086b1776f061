"""Messages that are deleted for good: from the front of a conversation, in portions, with the files in them.

What a portion has deleted lies before ``first_kept``: nobody is shown it any more, and no number is taken again.
"""

from __future__ import annotations

from chat_common.ports.files import Attachments
from sqlalchemy import and_, delete, select

from chat_server.im.search import index
from chat_server.store.schema import former, message, reaction
from chat_server.store.tx import Room, Tx

PORTION = 500
"""Messages of one portion at most."""


def purge(tx: Tx, attachments: Attachments, room: Room, before: int | None) -> bool:
    """Delete the oldest messages of a conversation as long as they are older than ``before`` (ms; None: all of them),
    at most 500; whether there are more. The members learn of it with the last portion, by one stamp.

    A message that is older than the one before it, because the clock was ahead then, waits for that one.
    """
    rows = tx.connection.execute(
        select(message.c.seq, message.c.time, message.c.kind)
        .where(message.c.conversation == room.conversation, message.c.seq >= room.first_kept)
        .order_by(message.c.seq)
        .limit(PORTION + 1)
    ).all()
    due = []
    for row in rows:
        if before is not None and row.time >= before:
            break
        due.append(row)
    if not due:
        return False
    more = len(due) > PORTION
    due = due[:PORTION]
    last = due[-1].seq
    for table in (message, former, reaction):
        tx.connection.execute(delete(table).where(and_(table.c.conversation == room.conversation, table.c.seq <= last)))
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
