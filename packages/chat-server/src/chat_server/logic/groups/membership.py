"""Opening and closing intervals: what invite, join, kick, leave and dissolve share.

Joining records ``from_seq`` = head + 1, leaving ``to_seq`` = head, under the conversation's row lock, stamped with one
rev for at most 200 memberships.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select, update

from chat_server.store import views
from chat_server.store.schema import member
from chat_server.store.tx import Room, Tx

PER_STAMP = 200
MOST_MEMBERS = 100_000


def rows_of(tx: Tx, name: str, users: Iterable[str]) -> dict[str, Any]:
    """Existing memberships, open or closed, by user."""
    rows = tx.connection.execute(
        select(member).where(member.c.conversation == name, member.c.user.in_(sorted(set(users))))
    )
    return {row.user: row for row in rows}


def chunks(users: Sequence[str]) -> list[Sequence[str]]:
    return [users[start : start + PER_STAMP] for start in range(0, len(users), PER_STAMP)]


def join(tx: Tx, room: Room, users: Sequence[str], *, role: str = "member") -> None:
    """Open an interval for each of these users, who have none open."""
    known = rows_of(tx, room.conversation, users)
    for some in chunks(sorted(users)):
        rev = room.stamp()
        numbers = tx.versions(some)
        fresh = []
        for who in some:
            values = {
                "role": role,
                "barred": False,
                "invited_by": None,
                "end_name": None,
                "end_avatar": None,
                "from_seq": room.head_seq + 1,
                "joined_at": tx.now,
                "rev": rev,
                "version": numbers[who],
                "activity": tx.now,
            }
            row = known.get(who)
            if row is None:
                fresh.append({"conversation": room.conversation, "user": who, **values})
                continue
            closed = [span for span in views.spans_of(row) if span[0] <= span[1]]
            tx.connection.execute(
                update(member)
                .where(member.c.conversation == room.conversation, member.c.user == who)
                .values(
                    to_seq=None,
                    earlier=views.as_json(closed) if closed else None,
                    hidden=False,
                    **values,
                )
            )
        if fresh:
            tx.connection.execute(member.insert(), fresh)
        room.announce_members(some, rev)
    room.members += len(users)
    room.announce()


def leave(tx: Tx, room: Room, users: Sequence[str], **values: Any) -> None:
    """Close the open interval of each of these users; their own devices learn of it. What they read of the group ends
    here, its name and picture too."""
    values |= {"end_name": room.name, "end_avatar": room.avatar, "role": "member"}
    for some in chunks(sorted(users)):
        rev = room.stamp()
        tx.touch(room.conversation, some, to_seq=room.head_seq, rev=rev, **values)
        room.announce_members(some, rev)
    room.members -= len(users)
    room.announce()
