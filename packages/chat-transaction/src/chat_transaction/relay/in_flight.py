"""The rows that were handed over and are not handled yet."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from chat_transaction.sql.outbox import OutboxRow


class InFlight:
    """Rows by the id of their record, at most ``capacity`` (in rows) of a topic.

    ``room_made`` is called when a topic that was full is half empty again, ``drained`` with a topic of which the last
    row has left.

    The *numbers* of rows are remembered longer than the rows: a scan that began before a row was deleted still sees it
    in its snapshot, so a number is forgotten only by `forget`, when the next scan begins.
    """

    def __init__(self, capacity: int, room_made: Callable[[], None], drained: Callable[[str], None]) -> None:
        self.rows: dict[str, OutboxRow] = {}
        self.counts: Counter[str] = Counter()
        """Rows by topic."""
        self.full: set[str] = set()
        """Topics that were full, and are not half empty yet."""
        self.numbers: set[int] = set()
        """Of the rows that no scan may bring again."""
        self._capacity = capacity
        self._room_made = room_made
        self._drained = drained
        self._confirmed: list[int] = []
        self._empty = asyncio.Event()

    def has_room(self, topic: str) -> bool:
        if self.counts[topic] < self._capacity:
            return True
        self.full.add(topic)
        return False

    def add(self, row: OutboxRow) -> None:
        self.rows[row.record.id] = row
        self.counts[row.record.topic] += 1

    def remove(self, id: str) -> OutboxRow | None:
        """Handled, parked, or lost; None: it was not in flight. Its number stays known."""
        row = self.rows.pop(id, None)
        if row is None:
            return None
        topic = row.record.topic
        self.counts[topic] -= 1
        if topic in self.full and self.counts[topic] <= self._capacity // 2:
            self.full.discard(topic)
            self._room_made()
        if not self.counts[topic]:
            self._drained(topic)
            if not self.rows:
                self._empty.set()
        return row

    def confirm(self, id: str) -> OutboxRow | None:
        """A row that was deleted from the table by somebody else's hand: the next scan may forget its number."""
        row = self.remove(id)
        if row is not None:
            self._confirmed.append(row.id)
        return row

    def drop(self, row: OutboxRow) -> None:
        """Take it back: it is still in the table, and a scan may bring it again."""
        if self.remove(row.record.id) is not None:
            self.numbers.discard(row.id)

    def forget(self, settled: Iterable[int]) -> None:
        """A scan begins, whose snapshot cannot hold these rows, nor those that were confirmed before."""
        self.numbers.difference_update(settled, self._confirmed)
        self._confirmed.clear()

    def is_current(self, row: OutboxRow) -> bool:
        """Whether this very hand-over is in flight, and not one from before the row was dropped."""
        return self.rows.get(row.record.id) is row

    def of_topics(self, topics: Collection[str]) -> list[OutboxRow]:
        return [row for row in self.rows.values() if row.record.topic in topics]

    def of_shards(self, shards: Collection[int]) -> list[OutboxRow]:
        return [row for row in self.rows.values() if row.shard in shards]

    async def emptied(self, patience: float) -> bool:
        """Wait until nothing is in flight, ``patience`` seconds at most; whether that is so."""
        self._empty.clear()
        if self.rows:
            try:
                async with asyncio.timeout(patience):
                    await self._empty.wait()
            except TimeoutError:
                return False
        return True
