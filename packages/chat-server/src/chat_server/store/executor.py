"""Runs a changing command: its reply is kept 24 h in its own transaction, so that a repeated ref changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
from attrs import frozen
from chat_common.clock import Clock
from chat_common.errors import NotAuthenticated, RefConflict
from chat_common.ports.database import Database
from chat_common.ports.outbox import Outbox
from chat_common.records import Caller
from sqlalchemy import Connection, select

from chat_server.store.kept_words import shown_again, without_words
from chat_server.store.replies import keep_reply, kept_reply, read_reply, request_hash
from chat_server.store.schema import message
from chat_server.store.tx import Tx

R = TypeVar("R")
Work = Callable[[Tx, str, Any], R]


def caller_user(caller: Caller) -> str:
    """The caller's user id; a guest is `NotAuthenticated`."""
    if caller.user is None:
        raise NotAuthenticated("Log in first.")
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

    async def run(
        self, caller: Caller, command: str, request: Any, work: Work[R], reply_type: Any, *, keep: bool = True
    ) -> R:
        """``work(tx, user, request)`` once per (user, ref): repeated → the kept reply, other params → `RefConflict`.

        What was said stands in no kept reply: there it is read anew, as it is by then.

        ``keep`` false: for work that changes nothing when it is done again; no reply is kept, and no ref is spent.
        """
        user = caller_user(caller)
        digest = caller.request_hash or request_hash(command, request)

        def once(connection: Connection) -> R:
            kept = kept_reply(connection, user, caller.ref) if keep else None
            if kept is not None:
                if kept[0] != digest:
                    raise RefConflict("This ref was already used for another request.", field="ref")
                return cast(R, shown_again(connection, user, read_reply(kept[1], reply_type), self.preview))
            if (
                keep
                and connection.execute(
                    select(message.c.seq).where(message.c.ref == caller.ref, message.c.sender == user)
                ).first()
            ):
                raise RefConflict("This ref was already used for a message.", field="ref")
            tx = self.tx(connection)
            result = work(tx, user, request)
            tx.finish()
            if keep:
                keep_reply(connection, user, caller.ref, digest, msgspec.json.encode(without_words(result)), tx.now)
            return result

        return await self.database.change(once, by=user)

    async def apply(self, work: Callable[[Tx], R]) -> R:
        """``work(tx)`` without a ref, for changes that the server makes itself."""

        def once(connection: Connection) -> R:
            tx = self.tx(connection)
            result = work(tx)
            tx.finish()
            return result

        return await self.database.change(once)
