"""Rows that no client would have the patience to make: members who are not online, a million messages.

Written with SQLAlchemy straight into the server's store while the server is stopped, in the shape that its own
commands leave behind. Bench only: nothing of this is a supported way to fill a server.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from chat_server.store import schema
from sqlalchemy import Connection, Table, create_engine, func, insert, select, update

BATCH = 20_000


def database(data: Path) -> Path:
    """The store's file in a data folder."""
    found = sorted(data.rglob("*.sqlite*")) + sorted(data.rglob("*.db"))
    files = [path for path in found if not path.name.endswith(("-wal", "-shm"))]
    if len(files) != 1:
        raise SystemExit(f"expected one database in {data}, found {[str(f.name) for f in files]}")
    return files[0]


def _insert(connection: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    stream: Iterator[dict[str, Any]] = iter(rows)
    while batch := list(islice(stream, BATCH)):
        connection.execute(insert(table), batch)


def add_members(data: Path, conversation: str, count: int) -> None:
    """`count` new users, members of the conversation, under one stamp as one invitation of many would have it."""
    now = int(time.time() * 1000)
    names = [f"absent-{i:06}" for i in range(count)]
    engine = create_engine(f"sqlite:///{database(data)}")
    with engine.begin() as connection:
        room = schema.conversation
        head = connection.execute(
            select(room.c.head_seq, room.c.head_rev).where(room.c.conversation == conversation)
        ).one()
        users = ({"user": n, "name": n, "folded": n, "created_at": now, "version": 1} for n in names)
        _insert(connection, schema.user, users)
        _insert(connection, schema.version, ({"user": n, "version": 1} for n in names))
        members = (
            {
                "conversation": conversation,
                "user": name,
                "role": "member",
                "from_seq": head.head_seq + 1,
                "joined_at": now,
                "rev": head.head_rev + 1,
                "version": 1,
                "activity": now,
                "diffused": head.head_rev + 1,
            }
            for name in names
        )
        _insert(connection, schema.member, members)
        connection.execute(
            update(room)
            .where(room.c.conversation == conversation)
            .values(members=room.c.members + count, head_rev=head.head_rev + 1)
        )
        connection.execute(
            update(schema.fanned).where(schema.fanned.c.conversation == conversation).values(rev=head.head_rev + 1)
        )
    engine.dispose()


def add_messages(data: Path, conversation: str, sender: str, count: int) -> int:
    """`count` texts of 128 bytes behind the head; the new head's seq."""
    now = int(time.time() * 1000)
    body = json.dumps({"text": "m" * 128}, separators=(",", ":"))
    digest = hashlib.sha256(b"seeded").digest()
    engine = create_engine(f"sqlite:///{database(data)}")
    with engine.begin() as connection:
        room = schema.conversation
        seq, rev = connection.execute(
            select(room.c.head_seq, room.c.head_rev).where(room.c.conversation == conversation)
        ).one()
        rows = (
            {
                "conversation": conversation,
                "seq": seq + i,
                "rev": rev + i,
                "sender": sender,
                "ref": f"seeded-{conversation}-{seq + i}",
                "hash": digest,
                "kind": "text",
                "body": body,
                "time": now,
            }
            for i in range(1, count + 1)
        )
        _insert(connection, schema.message, rows)
        head = {"head_seq": seq + count, "head_rev": rev + count, "head_time": now, "touched_at": now}
        connection.execute(update(room).where(room.c.conversation == conversation).values(**head))
        connection.execute(
            update(schema.fanned).where(schema.fanned.c.conversation == conversation).values(rev=rev + count)
        )
        stored: int = connection.execute(
            select(func.count()).select_from(schema.message).where(schema.message.c.conversation == conversation)
        ).scalar_one()
    engine.dispose()
    if stored < count:
        raise SystemExit(f"{stored} messages stored instead of {count}")
    return int(seq + count)
