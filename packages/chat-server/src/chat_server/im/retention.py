"""Retention: what is older than it is to be kept is deleted, conversation by conversation.

Of several servers on one database one does it at a time, in portions of at most 200 rows, so that others' writes come
in between. A portion done twice does no harm, and whoever takes the lease over goes on where the last one was: what is
due is asked of the rows, not remembered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from chat_common.ports.files import Attachments
from chat_common.records import Context
from sqlalchemy import Connection, and_, or_, select

from chat_server.im.purge import PORTION, purge
from chat_server.store import push_due
from chat_server.store.executor import CommandExecutor
from chat_server.store.leases import Lease
from chat_server.store.retention import RetentionSettings, cutoff, days_of
from chat_server.store.schema import conversation, member, message
from chat_server.store.tx import Tx

FIRST_AFTER = 60.0
"""Seconds until a server that has started looks whether it is its turn."""
EVERY = 3600.0
"""Seconds between two rounds."""
LONGEST_REST = 1.0
"""Seconds that are left to others between two portions at most; as a rule as long as the portion took."""
PAGE = 200
"""Conversations that are looked at together."""


class Retention:
    """``run`` is the background work, `round` what it does once an hour."""

    def __init__(
        self,
        executor: CommandExecutor,
        attachments: Attachments,
        settings: RetentionSettings,
        lease: Lease | None = None,
    ) -> None:
        self.lease = lease or Lease("retention")
        self._executor = executor
        self._database = executor.database
        self._attachments = attachments
        self._days = settings.days

    async def run(self, _context: Context) -> None:
        """For ever. A server that takes the lease over does not wait for the hour of the last one."""
        clock = self._executor.clock
        due_at = 0.0
        while True:
            await asyncio.sleep(FIRST_AFTER)
            if not self.lease.held:
                due_at = 0.0
            elif clock.monotonic() >= due_at:
                due_at = clock.monotonic() + EVERY
                await self.round()

    async def round(self) -> int:
        """Delete what is due everywhere; in how many conversations something was. Ends where the lease is lost."""
        now = self._executor.clock.wall_ms()
        found = 0
        after = ""
        while self.lease.held:
            rows = await self._database.read(lambda connection: self._page(connection, after))  # noqa: B023
            for row in rows:
                days = days_of(row, self._days)
                if days and row.time < cutoff(now, days):
                    found += 1
                    await self._purge(row.conversation, cutoff(now, days), row.first_kept)
            if len(rows) < PAGE:
                break
            after = rows[-1].conversation
        while self.lease.held and await self._database.change(push_due.drop_purged):
            pass
        return found

    def _page(self, connection: Connection, after: str) -> Sequence[Any]:
        """Conversations with the time of the oldest message that is kept."""
        wanted = conversation.c.conversation > after
        if not self._days:
            wanted = and_(wanted, or_(conversation.c.own_days > 0, conversation.c.kept_days > 0))
        oldest = and_(message.c.conversation == conversation.c.conversation, message.c.seq == conversation.c.first_kept)
        return connection.execute(
            select(
                conversation.c.conversation,
                conversation.c.own_days,
                conversation.c.kept_days,
                conversation.c.first_kept,
                message.c.time,
            )
            .join(message, oldest)
            .where(wanted)
            .order_by(conversation.c.conversation)
            .limit(PAGE)
        ).all()

    async def _purge(self, name: str, before: int, first: int) -> None:
        def portion(tx: Tx) -> bool:
            return self.lease.verify(tx.connection) and purge(tx, self._attachments, tx.room(name), before)

        while await self._rested(portion):
            pass
        after: str | None = ""
        while after is not None:
            after = await self._rested(lambda tx: self._tell_left(tx, name, first, after or ""))  # noqa: B023

    async def _rested(self, work: Any) -> Any:
        """One transaction, and then a rest: whoever deletes much takes at most half of the writer's time."""
        clock = self._executor.clock
        began = clock.monotonic()
        done = await self._executor.apply(work)
        await asyncio.sleep(min(LONGEST_REST, clock.monotonic() - began))
        return done

    def _tell_left(self, tx: Tx, name: str, first: int, after: str) -> str | None:
        """Give the rows of those who have left and could see something of it a new version: no stamp of the
        conversation reaches them. Where to go on, or None.

        Not noted anywhere: where the server dies before this, such a row is as it was until something else changes it.
        """
        if not self.lease.verify(tx.connection):
            return None
        users = list(
            tx.connection.execute(
                select(member.c.user)
                .where(
                    member.c.conversation == name,
                    member.c.user > after,
                    member.c.to_seq >= first,
                    member.c.rev > 0,
                )
                .order_by(member.c.user)
                .limit(PORTION)
            ).scalars()
        )
        tx.touch(name, users)
        return users[-1] if len(users) == PORTION else None
