"""Kept replies: what a changing command answered under a (user, ref), so that a repetition changes nothing for 24 h."""

from __future__ import annotations

import hashlib
from types import UnionType
from typing import Any

import msgspec
from chat_common.clock import Clock
from chat_common.ports.database import Database
from sqlalchemy import Connection, delete, select, tuple_

from chat_server.store.schema import reply
from chat_server.store.statements import upsert

KEPT_MS = 24 * 3600 * 1000


def request_hash(command: str, request: Any) -> bytes:
    """16 bytes that tell a repeated ref from a reused one: over the command and its params in canonical JSON."""
    return hashlib.sha256(command.encode() + b"\0" + msgspec.json.encode(request, order="sorted")).digest()[:16]


def read_reply(encoded: bytes, reply_type: Any) -> Any:
    """A kept reply as its record again; one of several record types stays plain data: it reads the same on the wire."""
    if isinstance(reply_type, UnionType):
        return msgspec.json.decode(encoded)
    return msgspec.json.decode(encoded, type=reply_type)


def kept_reply(connection: Connection, user: str, ref: str) -> tuple[bytes, bytes] | None:
    """(hash, encoded reply) of a command that this user made under this ref within 24 h."""
    row = connection.execute(
        select(reply.c.hash, reply.c.result).where(reply.c.user == user, reply.c.ref == ref)
    ).one_or_none()
    return None if row is None else (bytes(row.hash), bytes(row.result))


def keep_reply(connection: Connection, user: str, ref: str, digest: bytes, result: bytes, now: int) -> None:
    """Remember a reply for 24 h; a newer one under the same ref replaces one that is over its time."""
    values = {"hash": digest, "result": result, "expires_at": now + KEPT_MS}
    connection.execute(
        upsert(connection, reply)
        .values(user=user, ref=ref, **values)
        .on_conflict_do_update(index_elements=["user", "ref"], set_=values)
    )


def forget_replies(connection: Connection, now: int, limit: int = 500) -> int:
    """Delete kept replies that are over their time, at most ``limit``; how many went."""
    due = select(reply.c.user, reply.c.ref).where(reply.c.expires_at < now).order_by(reply.c.expires_at).limit(limit)
    gone = delete(reply).where(tuple_(reply.c.user, reply.c.ref).in_(due))
    return int(connection.execute(gone).rowcount)


def forget_replies_of(connection: Connection, user: str, limit: int = 500) -> int:
    """Delete what is kept for this user, at most ``limit``; how many went."""
    own = select(reply.c.ref).where(reply.c.user == user).limit(limit)
    return int(connection.execute(delete(reply).where(reply.c.user == user, reply.c.ref.in_(own))).rowcount)


class SqlReplies:
    """Kept replies for commands of plugins, whose own effect is not in our transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get(self, user: str, ref: str) -> tuple[bytes, bytes] | None:
        return await self._database.read(lambda connection: kept_reply(connection, user, ref))

    async def put(self, user: str, ref: str, digest: bytes, result: bytes) -> None:
        now = self._clock.wall_ms()
        await self._database.change(lambda connection: keep_reply(connection, user, ref, digest, result, now), by=user)
