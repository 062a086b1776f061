"""Runs a changing command: its reply is kept 24 h in its own transaction, so that a repeated ref changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from types import UnionType
from typing import Any, TypeVar, cast

import msgspec
from attrs import frozen
from chat_common.clock import Clock
from chat_common.errors import NotAuthenticated, RefConflict
from chat_common.ports.database import Database
from chat_common.ports.outbox import Outbox
from chat_common.records import Caller
from sqlalchemy import Connection, delete, select

from chat_server.pipeline.idempotency import request_hash
from chat_server.store.schema import message, reply
from chat_server.store.tx import Tx, upsert

R = TypeVar("R")
KEPT_MS = 24 * 3600 * 1000
Work = Callable[[Tx, str, Any], R]


def caller_user(caller: Caller) -> str:
    """The caller's user id; a guest is `NotAuthenticated`."""
    if caller.user is None:
        raise NotAuthenticated("log in first")
    return caller.user


@frozen
class CommandExecutor:
    """Hands use cases their `Tx`."""

    database: Database
    outbox: Outbox
    clock: Clock
    preview: Callable[[str, Any], str]

    def tx(self, connection: Connection) -> Tx:
        """A fresh `Tx` on this connection; the caller calls its `finish`."""
        return Tx(connection, self.outbox, self.clock.wall_ms(), self.preview)

    async def run(self, caller: Caller, command: str, request: Any, work: Work[R], reply_type: Any) -> R:
        """``work(tx, user, request)`` once per (user, ref): repeated → the kept reply, other params → `RefConflict`."""
        user = caller_user(caller)
        digest = caller.request_hash or request_hash(command, request)

        def once(connection: Connection) -> R:
            kept = kept_reply(connection, user, caller.ref)
            if kept is not None:
                if kept[0] != digest:
                    raise RefConflict("this ref was used for another request", field="ref")
                return cast(R, read_reply(kept[1], reply_type))
            if connection.execute(
                select(message.c.seq).where(message.c.ref == caller.ref, message.c.sender == user)
            ).first():
                raise RefConflict("this ref was used for a message", field="ref")
            tx = self.tx(connection)
            result = work(tx, user, request)
            tx.finish()
            keep_reply(connection, user, caller.ref, digest, msgspec.json.encode(result), tx.now)
            return result

        return await self.database.change(once)

    async def apply(self, work: Callable[[Tx], R]) -> R:
        """``work(tx)`` without a ref, for changes that the server makes itself."""

        def once(connection: Connection) -> R:
            tx = self.tx(connection)
            result = work(tx)
            tx.finish()
            return result

        return await self.database.change(once)


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


def forget_replies(connection: Connection, now: int, limit: int = 1000) -> int:
    """Delete kept replies that are over their time, at most ``limit``; how many went."""
    doomed = select(reply.c.user, reply.c.ref).where(reply.c.expires_at < now).limit(limit)
    rows = connection.execute(doomed).all()
    for row in rows:
        connection.execute(delete(reply).where(reply.c.user == row.user, reply.c.ref == row.ref))
    return len(rows)


class SqlReplies:
    """Kept replies for commands of plugins, whose own effect is not in our transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get(self, user: str, ref: str) -> tuple[bytes, bytes] | None:
        return await self._database.read(lambda connection: kept_reply(connection, user, ref))

    async def put(self, user: str, ref: str, digest: bytes, result: bytes) -> None:
        now = self._clock.wall_ms()
        await self._database.change(lambda connection: keep_reply(connection, user, ref, digest, result, now))
