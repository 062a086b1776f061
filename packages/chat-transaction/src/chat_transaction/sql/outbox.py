"""The outbox as a table in the caller's own database."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any, Literal, Protocol
from zlib import crc32

from attrs import frozen
from chat_common.clock import Clock
from chat_common.errors import Invalid
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.outbox import OutboxEntry, checked
from sqlalchemy import insert

from chat_transaction.sql.tables import SHARDS, outbox

_COLUMNS = ("shard", "topic", "key", "uid", "payload", "due_at", "created_at")
_INSERT_RETURNING = insert(outbox).returning(outbox.c.id, sort_by_parameter_order=True)
Values = tuple[int, str, str, str, bytes, int, int]


def statement(values: Values, paramstyle: Literal["format", "qmark"]) -> tuple[str, list[Any]]:
    """The INSERT of one row for a DB-API cursor."""
    if paramstyle not in ("format", "qmark"):
        raise Invalid(f"The paramstyle is {paramstyle!r}; use 'format' or 'qmark'.", field="paramstyle")
    marks = ", ".join(["%s" if paramstyle == "format" else "?"] * len(values))
    return f"INSERT INTO chat_outbox ({', '.join(_COLUMNS)}) VALUES ({marks})", list(values)


_INSERT_SQLITE = f"INSERT INTO chat_outbox ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


def shard_of(key: str) -> int:
    """The shard of a key: the same in every process and language (CRC-32 of its UTF-8 bytes)."""
    return crc32(key.encode()) % SHARDS


@frozen
class Parking:
    """That a row waits, for one group, behind the parked row ``head`` of its key (or is that row itself, and then
    ``reason`` says why)."""

    head: int
    reason: str | None = None
    attempts: int = 0


class OutboxRow:
    """One written row, and what becomes of it.

    As read from the table: ``only`` these groups want it (None: all that are registered), ``settled`` are done with it
    or need no hand-over, ``attempts`` by group. On its way: ``waiting`` have not handled it yet (None: the topic's only
    one), ``handled`` have, ``retained`` stay behind in the table because they parked it (or are absent: None).
    ``published`` is when a broker took it (seconds, monotonic), ``repeats`` how often it was given it again, ``after``
    the row before it in its key that may still be in flight.
    """

    __slots__ = (
        "after",
        "attempts",
        "due_at",
        "handled",
        "id",
        "only",
        "published",
        "record",
        "repeats",
        "retained",
        "settled",
        "shard",
        "waiting",
    )

    def __init__(self, id: int, shard: int, due_at: int, record: BrokerRecord) -> None:
        self.id = id
        self.shard = shard
        self.due_at = due_at
        self.record = record
        self.only: frozenset[str] | None = None
        self.settled: frozenset[str] | None = None
        self.attempts: dict[str, int] | None = None
        self.waiting: set[str] | None = None
        self.handled: set[str] | None = None
        self.retained: dict[str, Parking | None] | None = None
        self.published: float | None = None
        self.repeats = 0
        self.after = 0

    def handed_over_as(self, record: BrokerRecord) -> bool:
        """Whether this very hand-over made the record: later attempts share its headers, other hand-overs do not."""
        return record.headers is self.record.headers


class Receiver(Protocol):
    """What is told of committed rows: the relay of this process."""

    def committed(self, rows: Sequence[OutboxRow]) -> None: ...


class SqlOutbox:
    """`chat_common.ports.outbox.Outbox` on the table ``chat_outbox``.

    The numbers of the rows grow in commit order on SQLite, where one transaction writes at a time; on PostgreSQL they
    do so for each key whose writers hold a lock of their own (a conversation's row, an order's row).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._boot = os.urandom(9).hex()
        self._numbers = itertools.count(1)
        self._receiver: Receiver | None = None

    def attach(self, receiver: Receiver | None) -> None:
        """From now on hand committed rows to ``receiver`` (None: to nobody; the rows wait in the table)."""
        self._receiver = receiver

    def write(self, connection: Any, entries: Sequence[OutboxEntry]) -> Sequence[OutboxRow]:
        if not entries:
            return ()
        rows = [self.values(entry) for entry in entries]
        ids = _insert(connection, rows)
        return [
            OutboxRow(id, row[0], row[5], BrokerRecord(row[1], row[2], row[4], row[3], inline=entry.inline))
            for id, row, entry in zip(ids, rows, entries, strict=True)
        ]

    def values(self, entry: OutboxEntry) -> Values:
        """The values of one row, in the order of its columns; each call makes another idempotency key. `Invalid` for an
        entry that `checked` refuses."""
        checked(entry)
        now = self._clock.wall_ms()
        due = now + round(entry.delay * 1000) if entry.delay > 0 else 0
        uid = f"{self._boot}{next(self._numbers):x}"
        return (shard_of(entry.key), entry.topic, entry.key, uid, entry.payload, due, now)

    def committed(self, tokens: Sequence[OutboxRow]) -> None:
        if self._receiver is not None and tokens:
            self._receiver.committed(tokens)


def _insert(connection: Any, rows: list[Values]) -> Sequence[int]:
    """Insert the rows in one statement; their ids in the same order."""
    if connection.dialect.name == "sqlite":
        # The driver's own executemany: half the time of a compiled insert, and nobody else writes meanwhile, so that
        # the ids are the last ones without a gap.
        connection.exec_driver_sql(_INSERT_SQLITE, rows)
        last = connection.exec_driver_sql("SELECT last_insert_rowid()").scalar_one()
        return range(last - len(rows) + 1, last + 1)
    found = connection.execute(_INSERT_RETURNING, [dict(zip(_COLUMNS, row, strict=True)) for row in rows])
    return [row[0] for row in found]
