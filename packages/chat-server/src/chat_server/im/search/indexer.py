"""What keeps the index of messages: behind the commit, in portions, under a lease.

The log is the truth here as everywhere: each conversation has a rev up to which its messages are indexed, written in
the transaction that indexes them. So whatever ends the process, the next one goes on where this one was; and a store
from before there was an index, or one in which it was off for a while, is a store that is far behind.
Nothing of it is on a submit's way. It shares the database's writer with them: a portion is small, and after each the
indexer rests as long as that took.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from attrs import frozen
from chat_common.clock import Clock
from chat_common.ports.database import Database
from chat_common.records import Context, Task
from msgspec import json
from sqlalchemy import Connection, bindparam, func, select

from chat_server.im.kinds import Kinds
from chat_server.im.search import index, links, words
from chat_server.im.search.settings import SearchSettings
from chat_server.store.leases import Lease
from chat_server.store.schema import conversation, message, searched
from chat_server.store.statements import CompiledStatement, any_of, any_place, listed, texts, upsert

log = structlog.get_logger("chat.search")

ROOMS = 200
"""Conversations of one portion at most."""
OVERLAP_MS = 60_000
"""By how much two looks overlap: clocks of several servers differ, and a stamp is committed later than it is taken."""
ANEW_MS = 3_600_000
"""So often everything is looked at again, whatever a clock has said in between."""
IDLE = 2.0
"""Rests at most so many seconds after a portion."""

_STAMPED = CompiledStatement(
    select(message)
    .where(message.c.conversation == bindparam("name"), message.c.rev > bindparam("after"))
    .order_by(message.c.rev)
    .limit(bindparam("most")),
    "name",
    "after",
    "most",
)


@frozen
class Portion:
    """``reached``: (conversation, the rev up to which it is indexed with this). ``documents``: each with the rev at
    which it was so. ``rows``: how many messages were looked at. ``rest``: there may be more."""

    reached: Sequence[tuple[str, int]]
    documents: Sequence[tuple[int, index.Document]]
    gone: Sequence[tuple[str, int]]
    rows: int
    rest: bool


class Indexer:
    """``step`` indexes one portion; the task does so again and again."""

    def __init__(
        self, database: Database, clock: Clock, kinds: Kinds, settings: SearchSettings, lease: Lease | None = None
    ) -> None:
        self.lease = lease or Lease("search")
        self._database = database
        self._clock = clock
        self._kinds = kinds
        self._settings = settings
        self._since = 0
        self._anew = 0
        self._next_erasure = 0.0

    def tasks(self) -> Sequence[Task]:
        """The work, where messages are to be indexed."""
        return [self.lease.task(self._run)] if self._settings.enabled else []

    async def _run(self, _context: Context) -> None:
        if not await self._database.read(lambda connection: index.words_of(connection).ready(connection)):
            log.warning("messages_are_not_indexed", reason="This SQLite has no FTS5.")
            return
        indexed, told = 0, False
        while True:
            started = self._clock.monotonic()
            rows, rest = await self.step()
            indexed += rows
            if rest:
                if not told and indexed >= 10 * self._settings.portion:
                    log.info("messages_being_indexed", so_far=indexed)
                    told = True
                await asyncio.sleep(min(IDLE, max(0.005, self._clock.monotonic() - started)))
                continue
            if told:
                log.info("messages_indexed", messages=indexed)
            indexed, told = 0, False
            await asyncio.sleep(self._settings.every)

    async def step(self) -> tuple[int, bool]:
        """Index one portion of what is behind: (how many messages were looked at, whether there may be more). Nothing
        while another server has the lease."""
        if not self.lease.held:
            return 0, False
        now = self._clock.wall_ms()
        if now - self._anew >= ANEW_MS or now < self._anew:
            self._anew, self._since = now, 0
        since = self._since
        portion = await self._database.read(lambda connection: self._read(connection, since))
        if portion.reached and not await self._database.change(lambda connection: self._write(connection, portion)):
            return 0, False
        if not portion.rest:
            self._since = now - OVERLAP_MS
        return portion.rows, portion.rest

    async def erase(self) -> None:
        """Take what was dropped out of the files, where that is more than one write. Of the time at most a twentieth is
        spent so: in a large index one deletion costs as much as many."""
        started = self._clock.monotonic()
        if started < self._next_erasure:
            return
        while await self._database.change(lambda connection: index.words_of(connection).erase(connection)):
            pass
        now = self._clock.monotonic()
        self._next_erasure = now + 20 * (now - started)

    def _read(self, connection: Connection, since: int) -> Portion:
        done = func.coalesce(searched.c.rev, 0)
        behind = connection.execute(
            select(conversation.c.conversation, conversation.c.head_rev, done.label("done"))
            .outerjoin(searched, searched.c.conversation == conversation.c.conversation)
            .where(conversation.c.touched_at >= since, conversation.c.head_rev > done)
            .limit(ROOMS)
        ).all()
        reached: list[tuple[str, int]] = []
        documents: list[tuple[int, index.Document]] = []
        gone: list[tuple[str, int]] = []
        left = self._settings.portion
        for room in behind:
            rows = _STAMPED.all(connection, room.conversation, room.done, left)
            for row in rows:
                document = self._document(row)
                if document is None:
                    gone.append((row.conversation, row.seq))
                else:
                    documents.append((row.rev, document))
            full = len(rows) == left
            reached.append((room.conversation, rows[-1].rev if full else room.head_rev))
            left -= len(rows)
            if full:
                break
        return Portion(reached, documents, gone, self._settings.portion - left, left == 0 or len(behind) == ROOMS)

    def _document(self, row: Any) -> index.Document | None:
        """None: of this message nothing is found."""
        if row.recalled is not None or row.kind == "system" or row.body is None:
            return None
        said = self._kinds.searchable(row.kind, json.decode(row.body)) or ""
        marks = [index.mark("p", row.conversation), index.mark("u", row.sender), index.mark("k", row.kind)]
        if links.has_link(said):
            marks.append(index.mark("h", "link"))
        return index.Document(row.conversation, row.seq, row.time, marks, words.indexed(said))

    def _write(self, connection: Connection, portion: Portion) -> bool:
        """False: another server does it now. What was changed or deleted between the read and this is left out: a
        change took a newer rev, and comes with the next portion."""
        if not self.lease.verify(connection):
            return False
        _LOCK.all(connection, texts(connection, (name for name, _ in portion.reached)))
        places = listed([(one.conversation, one.seq) for _, one in portion.documents])
        now = {(row.conversation, row.seq): row.rev for row in _REVS.all(connection, places)}
        index.put(connection, [one for rev, one in portion.documents if now.get((one.conversation, one.seq)) == rev])
        for name, seq in portion.gone:
            index.forget(connection, name, seq, seq)
        statement = upsert(connection, searched)
        connection.execute(
            statement.on_conflict_do_update(index_elements=["conversation"], set_={"rev": statement.excluded.rev}),
            [{"conversation": name, "rev": rev} for name, rev in portion.reached],
        )
        return True


_LOCK = CompiledStatement(
    select(conversation.c.conversation)
    .where(any_of(conversation.c.conversation, "names"))
    .order_by(conversation.c.conversation)
    .with_for_update(read=True),
    "names",
)
"""Whoever changes a message holds its conversation's row, waits for this, and is waited for."""
_REVS = CompiledStatement(
    select(message.c.conversation, message.c.seq, message.c.rev).where(
        any_place(message.c.conversation, message.c.seq, "places")
    ),
    "places",
)
