"""Consumers whose effect is in the database: it happens once, because the record's id commits with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal

from attrs import frozen
from chat_common.clock import Clock, SystemClock
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.database import Database
from chat_common.records import Consumer
from sqlalchemy import delete, select, text

from chat_transaction.sql import fencing
from chat_transaction.sql.fencing import Fence
from chat_transaction.sql.outbox import shard_of
from chat_transaction.sql.statements import upsert
from chat_transaction.sql.tables import inbox, outbox

Effect = Callable[[Any, BrokerRecord], None]
"""``effect(connection, record)``: plain synchronous SQLAlchemy in the transaction that also notes the record."""

_IDLE_MS = 15_000
_PURGE = 1_000
_SKEW_MS = 3_600_000
"""How far the clocks of two writers may differ."""


@frozen
class InboxConsumer:
    """A subscription whose function changes the database. It needs a database to become a `Consumer`."""

    topic: str
    group: str
    effect: Effect
    batch: int = 100
    attempts: int = 10
    on_failure: Literal["bury", "park"] = "bury"
    timeout: float | None = None

    def __call__(self, connection: Any, record: BrokerRecord) -> None:
        """The function itself, without its inbox: for its own tests."""
        self.effect(connection, record)

    def on(self, database: Database, clock: Clock | None = None) -> Consumer:
        """The record for the plugin's hook or the relay: effect and note commit together on ``database``."""
        time = clock or SystemClock()

        async def handle(records: Sequence[BrokerRecord]) -> None:
            fence = fencing.current.get()
            await database.change(lambda connection: self._apply(connection, records, time.wall_ms(), fence))

        return Consumer(self.topic, self.group, handle, self.batch, self.attempts, self.on_failure, self.timeout)

    def _apply(self, connection: Any, records: Sequence[BrokerRecord], now: int, fence: Fence | None) -> None:
        if connection.dialect.name == "postgresql":
            # A consumer that is stopped in here must not keep the next owner waiting at the unique index for ever.
            connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {_IDLE_MS}"))
        if fence is not None:
            fence.verify(connection, {shard_of(record.key) for record in records})
        fresh = _note(connection, self.group, records, now)
        for record in records:
            if record.id in fresh:
                fresh.remove(record.id)
                self.effect(connection, record)


def consumer(
    topic: str,
    group: str,
    *,
    batch: int = 100,
    attempts: int = 10,
    on_failure: Literal["bury", "park"] = "bury",
    timeout: float | None = None,
) -> Callable[[Effect], InboxConsumer]:
    """Make a function of (connection, record) a consumer whose effect happens once per group.

    Redelivered records are recognised by their id for as long as it is kept: the relay forgets what is older than its
    setting ``inbox_retention`` in its own database; for another one call `forget`. When the function raises, nothing
    of the record is kept, and it comes again.
    """

    def decorate(effect: Effect) -> InboxConsumer:
        return InboxConsumer(topic, group, effect, batch, attempts, on_failure, timeout)

    return decorate


async def forget(database: Database, before: int) -> int:
    """`purge` until nothing is left that may be forgotten, a transaction a batch; how many there were."""
    total = 0
    while found := await database.change(lambda connection: purge(connection, before)):
        total += found
    return total


async def forgetting(database: Database, clock: Clock, keep: float, is_mine: Callable[[], bool]) -> None:
    """For ever: `forget` what is older than ``keep`` seconds, in the relay for which it ``is_mine``."""
    while True:
        if is_mine():
            await forget(database, clock.wall_ms() - round(keep * 1000))
        await asyncio.sleep(min(600.0, keep / 10))


def purge(connection: Any, before: int) -> int:
    """Forget at most 1,000 notes older than ``before`` (ms since 1970); how many there were.

    The note of a record whose row is still in this database's outbox is kept: it may come again. Beyond that ``before``
    must lie further back than a broker delivers anything again.
    """
    waiting = select(outbox.c.uid).where(outbox.c.created_at <= before + _SKEW_MS)
    old = select(inbox.c.uid, inbox.c.group).where(inbox.c.handled_at < before, inbox.c.uid.not_in(waiting))
    rows = connection.execute(old.order_by(inbox.c.handled_at).limit(_PURGE)).all()
    for group in sorted({row.group for row in rows}):
        uids = sorted(row.uid for row in rows if row.group == group)
        connection.execute(delete(inbox).where(inbox.c.group == group, inbox.c.uid.in_(uids)))
    return len(rows)


def _note(connection: Any, group: str, records: Sequence[BrokerRecord], now: int) -> set[str]:
    """The ids that were not known yet. Waits for another transaction that notes the same ones."""
    # In one order everywhere, so that two owners of the same records wait for each other instead of blocking.
    uids = sorted({record.id for record in records})
    rows = upsert(connection, inbox).on_conflict_do_nothing().returning(inbox.c.uid)
    return set(connection.execute(rows, [{"group": group, "uid": uid, "handled_at": now} for uid in uids]).scalars())
