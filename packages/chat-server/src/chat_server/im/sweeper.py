"""The sweeper: re-announces conversations whose head has been above the fan-out cursor for some seconds.

That heals a broker that lost what it had accepted. Of several servers on one database one does it at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chat_common.clock import Clock
from chat_common.ports.database import Database
from chat_common.ports.outbox import Outbox
from sqlalchemy import Connection, func, select

from chat_server.im.diffusion import drop_beyond_heads
from chat_server.im.fanout import Fanout
from chat_server.store import epoch
from chat_server.store.leases import Lease
from chat_server.store.schema import conversation, fanned
from chat_server.store.topics import announce, stored_entry

SETTLED_MS = 3_000
OVERLAP_MS = 60_000
AGAIN_MS = 30_000
PAGE = 500
NEVER = 1 << 62


class Sweeper:
    """``sweep`` is called every few seconds; each looks only at what was touched since the last one, and at what was
    behind then; at nothing where the database can tell that nothing was committed since that could have settled by now.
    """

    def __init__(
        self, database: Database, outbox: Outbox, clock: Clock, fanout: Fanout, lease: Lease | None = None
    ) -> None:
        self.lease = lease or Lease("sweeper")
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._fanout = fanout
        self._epoch: str | None = None
        self._since = 0
        self._told: dict[str, tuple[int, int]] = {}
        self._mark: int | None = None  # The database's (`Database.commit_mark`), and when it was seen to change.
        self._stirred_at = 0
        self._due_at = 0  # Before that, there is nothing that could be found.

    async def sweep(self) -> int:
        """How many conversations were announced again; none while another server has the lease."""
        mark, now = self._database.commit_mark(), self._clock.wall_ms()
        if mark is None or mark != self._mark:
            self._mark, self._stirred_at = mark, now
            self._due_at = min(self._due_at, now + SETTLED_MS)
        if now < self._due_at:
            return 0
        # What each server remembers for itself is void with a new epoch, whoever sweeps.
        await self._begin_anew()
        if not self.lease.held:
            return 0
        self._told = {name: told for name, told in self._told.items() if now - told[1] < AGAIN_MS}
        total = 0
        after = ""
        since = now - OVERLAP_MS
        while True:
            rows = await self._database.change(lambda connection: self._page(connection, now, after))  # noqa: B023
            if rows is None:
                return total  # lost on the way: `_since` stays, so that nothing is passed over when it comes back
            total += len(rows)
            since = min([since, *(row.touched_at for row in rows)])  # what is behind is looked at until it is not
            if len(rows) < PAGE:
                break
            after = rows[-1].conversation
        self._since = since
        # What was committed since has yet to settle.
        self._due_at = NEVER if not total and self._stirred_at + SETTLED_MS < now else now
        return total

    async def _begin_anew(self) -> None:
        """A store that was restored or promoted with loss takes revs again that were fanned out: with the new epoch
        what this node knows is void, and so are cursors beyond the head; what lies below the head is looked for from
        the beginning. No such cursor is written afterwards: `save_fanned` refuses those of an earlier epoch."""
        now = await self._database.read(epoch.read)
        if self._epoch not in (None, now):
            self._fanout.forget_all()
            await self._database.change(drop_beyond_heads)
            self._told.clear()
            self._since = 0
        self._epoch = now

    def _page(self, connection: Connection, now: int, after: str) -> Sequence[Any] | None:
        if not self.lease.verify(connection):
            return None
        done = func.coalesce(fanned.c.rev, 0)
        rows = connection.execute(
            select(conversation.c.conversation, conversation.c.head_rev, conversation.c.touched_at, done.label("done"))
            .outerjoin(fanned, fanned.c.conversation == conversation.c.conversation)
            .where(
                conversation.c.touched_at >= self._since,
                conversation.c.touched_at < now - SETTLED_MS,
                conversation.c.head_rev > done,
                conversation.c.conversation > after,
            )
            .order_by(conversation.c.conversation)
            .limit(PAGE)
        ).all()
        stuck = [row for row in rows if self._told.get(row.conversation, (0, 0))[0] < row.head_rev]
        announce(
            connection,
            self._outbox,
            [stored_entry(row.conversation, row.done + 1, row.head_rev, ()) for row in stuck],
        )
        for row in stuck:
            self._told[row.conversation] = (row.head_rev, now)
        return rows
