"""What the relay and its consumers read: synchronous functions of one connection."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from attrs import frozen
from chat_common.ports.broker import BrokerRecord
from sqlalchemy import func, not_, select, text, tuple_

from chat_transaction.sql.outbox import OutboxRow
from chat_transaction.sql.statements import among
from chat_transaction.sql.tables import GroupState, outbox, state

_PAGE = 1_000


@frozen
class Found:
    """``complete``: nothing ready was left out. ``top``: the newest number that the snapshot covers. ``present``: those
    of the known rows that are still there and ready. ``heads``: as `parked_heads`, when asked for."""

    rows: Sequence[OutboxRow]
    complete: bool
    top: int
    next_due: int | None
    present: Collection[int]
    heads: dict[tuple[str, str], dict[str, int]] | None


@frozen
class Scan:
    """Reads the ready rows above ``floor`` that are not ``known``, in order, at most ``limit``. ``shared``: topics
    whose groups stand apart (see `tables.state`)."""

    now: int
    floor: int
    limit: int
    known: Collection[int]
    topics: tuple[str, ...]
    shared: frozenset[str]
    excluded: tuple[tuple[str, str], ...]
    shards: tuple[int, ...] | None
    heads: bool = False

    def __call__(self, connection: Any) -> Found:
        # First, because not every driver reads several statements from one snapshot: whose head is gone from here, its
        # rows are found ready below.
        heads = parked_heads(connection) if self.heads else None
        top = self._top(connection)
        wanted: list[int] = []
        present: set[int] = set()
        after, complete = self.floor, False
        while len(wanted) < self.limit:
            page = connection.execute(self._ids(after)).scalars().all()
            wanted += [id for id in page if id not in self.known]
            present.update(page)
            top = max(top, page[-1]) if page else top
            if len(page) < _PAGE:
                complete = len(wanted) <= self.limit
                break
            after = page[-1]
        wanted = wanted[: self.limit]
        rows = select(outbox).where(among(connection, outbox.c.id, wanted)).order_by(outbox.c.id)
        found = [_outbox_row(each) for each in connection.execute(rows)] if wanted else []
        _add_standings(connection, [row for row in found if row.only or row.record.topic in self.shared])
        due = select(func.min(outbox.c.due_at)).where(outbox.c.parked == 0, outbox.c.due_at > self.now)
        return Found(
            found, complete, top, connection.execute(due).scalar() if self.floor == 0 else None, present, heads
        )

    def _ids(self, after: int) -> Any:
        query = select(outbox.c.id).where(outbox.c.id > after, outbox.c.parked == 0, outbox.c.due_at <= self.now)
        query = query.where(outbox.c.topic.in_(self.topics))
        if self.shards is not None:
            query = query.where(outbox.c.shard.in_(self.shards))
        if self.excluded:
            query = query.where(not_(tuple_(outbox.c.topic, outbox.c.key).in_(self.excluded)))
        return query.order_by(outbox.c.id).limit(_PAGE)

    def _top(self, connection: Any) -> int:
        if connection.dialect.name == "sqlite":
            newest = text("SELECT seq FROM sqlite_sequence WHERE name = 'chat_outbox'")
            return connection.execute(newest).scalar() or 0
        return connection.execute(select(func.max(outbox.c.id))).scalar() or 0


@frozen
class Present:
    """Which of these rows are still in the table."""

    ids: tuple[int, ...]

    def __call__(self, connection: Any) -> set[int]:
        return set(connection.execute(select(outbox.c.id).where(among(connection, outbox.c.id, self.ids))).scalars())


def _outbox_row(found: Any) -> OutboxRow:
    record = BrokerRecord(found.topic, found.key, found.payload, found.uid, found.attempts + 1)
    row = OutboxRow(found.id, found.shard, found.due_at, record)
    if found.groups is not None:
        row.only = frozenset(found.groups.split(","))
    return row


def _add_standings(connection: Any, rows: Sequence[OutboxRow]) -> None:
    """Write on rows of shared topics where their groups stand."""
    by_id = {row.id: row for row in rows}
    failing: dict[int, dict[str, int]] = {}
    stands = select(state).where(among(connection, state.c.id, by_id))
    for found in connection.execute(stands) if by_id else ():
        row = by_id[found.id]
        if found.state == GroupState.FAILING:
            failing.setdefault(found.id, {})[found.group] = found.attempts
        else:
            row.settled = (row.settled or frozenset()) | {found.group}
    for id, attempts in failing.items():
        by_id[id].attempts = attempts


@frozen
class Pending:
    """Of these rows, those that a group has not handled yet, and those of them that it must not run now, because it
    was absent and the owner of their shard will send them again in order. ``shared``: the topic has several groups."""

    group: str
    ids: tuple[int, ...]
    shared: bool

    def __call__(self, connection: Any) -> tuple[set[int], set[int]]:
        rows = connection.execute(select(outbox.c.id, outbox.c.groups).where(among(connection, outbox.c.id, self.ids)))
        found = {row.id for row in rows if row.groups is None or self.group in row.groups.split(",")}
        absent: set[int] = set()
        if self.shared and found:
            stands = select(state.c.id, state.c.state).where(among(connection, state.c.id, found))
            for row in connection.execute(stands.where(state.c.group == self.group)):
                if row.state == GroupState.DONE:
                    found.discard(row.id)
                elif row.state == GroupState.ABSENT:
                    absent.add(row.id)
        return found, absent


@frozen
class ParkedKeys:
    """Of these keys of a topic, the ones that are parked for a group: key → number of its first parked row."""

    topic: str
    group: str
    keys: tuple[str, ...]

    def __call__(self, connection: Any) -> dict[str, int]:
        rows = select(outbox.c.id, outbox.c.key).join(state, state.c.id == outbox.c.id)
        rows = rows.where(state.c.state == GroupState.PARKED, state.c.group == self.group)
        rows = rows.where(outbox.c.topic == self.topic, outbox.c.key.in_(self.keys)).order_by(outbox.c.id)
        found: dict[str, int] = {}
        for row in connection.execute(rows):
            found.setdefault(row.key, row.id)
        return found


def parked_heads(connection: Any) -> dict[tuple[str, str], dict[str, int]]:
    """(topic, group) → key → number of the first parked row."""
    rows = select(outbox.c.id, outbox.c.topic, outbox.c.key, state.c.group).join(state, state.c.id == outbox.c.id)
    found: dict[tuple[str, str], dict[str, int]] = {}
    for row in connection.execute(rows.where(state.c.state == GroupState.PARKED).order_by(outbox.c.id)):
        found.setdefault((row.topic, row.group), {}).setdefault(row.key, row.id)
    return found


def absent(connection: Any, shards: Collection[int]) -> set[tuple[str, str]]:
    """The (topic, group) pairs for which rows of these shards wait because nobody runs the group."""
    rows = select(outbox.c.topic, state.c.group).join(state, state.c.id == outbox.c.id).distinct()
    rows = rows.where(state.c.state == GroupState.ABSENT, outbox.c.shard.in_(sorted(shards)))
    return {(row.topic, row.group) for row in connection.execute(rows)}
