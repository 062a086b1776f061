"""From the relay to a broker: in order per key, and nobody waits for what the broker does not want."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import attrs
from chat_common.backoff import pause
from chat_common.clock import Clock
from chat_common.ports.broker import Broker, BrokerRecord, RecordsRefused, Refusal

from chat_transaction.headers import AFTER, GROUPS, ROW
from chat_transaction.sql.outbox import OutboxRow

log = logging.getLogger(__name__)

_BATCH = 500
_TRIES = 10
"""A record that fails so often, alone, while others of its topic pass, is refused."""
_DOUBLINGS = 4
"""So often the patience with a record doubles."""
_FIRST, _CAP = 0.1, 10.0
"""Seconds between two attempts."""


class Publishing:
    """A lane for each topic: a topic whose records fail waits alone.

    ``alive`` says whether a row is still wanted; ``refused`` is told of what the broker will never take.
    """

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        alive: Callable[[OutboxRow], bool],
        refused: Callable[[OutboxRow, str], Awaitable[None]],
    ) -> None:
        self.broker = broker
        self.clock = clock
        self.alive = alive
        self.refused = refused
        self._lanes: dict[str, _Lane] = {}
        self._progress: dict[str, float] = {}
        self._last: dict[tuple[str, str], int] = {}
        self._moved: dict[tuple[str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._lanes.clear()

    def put(self, rows: Iterable[OutboxRow]) -> None:
        """Publish them soon, each topic in this order."""
        for row in rows:
            key = (row.record.topic, row.record.key)
            row.after = self._last.get(key, 0)
            self._last[key] = row.id
            self._line_up(row)

    def passed(self, row: OutboxRow) -> None:
        """It is no longer in flight."""
        key = (row.record.topic, row.record.key)
        now = self.clock.monotonic()
        self._progress[row.record.topic] = now
        if self._last.get(key) == row.id:
            del self._last[key]
            self._moved.pop(key, None)
        elif key in self._last:
            self._moved[key] = now

    def republish(self, rows: Iterable[OutboxRow], patience: float) -> None:
        """Publish again the keys of which the broker took records, and seems to have lost the first: it was not
        confirmed for ``patience`` seconds, and nothing else of its topic either; or for three times as long. The whole
        key again, in order: what is behind the first had to wait for it, or was let go.

        Each time the patience with this record doubles, up to sixteen fold: where it only waits for slow or absent
        consumers, copies would be more work for those.
        """
        now, lost = self.clock.monotonic(), []
        keys: dict[tuple[str, str], list[OutboxRow]] = {}
        for row in rows:
            if row.published is not None:
                keys.setdefault((row.record.topic, row.record.key), []).append(row)
        for (topic, key), chain in keys.items():
            head = min(chain, key=_number)
            age = now - max(head.published or 0.0, self._moved.get((topic, key), 0.0))
            still = now - self._progress.get(topic, 0.0)
            limit = patience * 2 ** min(head.repeats, _DOUBLINGS)
            # While its topic moves on, a key is probably waiting its turn.
            if age > limit and (still > limit or age > 3 * limit):
                head.repeats += 1
                lost += chain
        if lost:
            log.warning("the broker lost %d records, or nobody takes them: publishing them again", len(lost))
            for row in sorted(lost, key=_number):
                row.published = None
                self._line_up(row)

    def _line_up(self, row: OutboxRow) -> None:
        topic = row.record.topic
        lane = self._lanes.get(topic)
        if lane is None:
            lane = self._lanes[topic] = _Lane(self, topic)
            task = asyncio.get_running_loop().create_task(lane.run(), name=f"outbox publishing {topic}")
            self._tasks.add(task)
        lane.waiting.append(row)
        lane.some.set()


class _Lane:
    """The records of one topic on their way to the broker."""

    def __init__(self, publishing: Publishing, topic: str) -> None:
        self.waiting: deque[OutboxRow] = deque()
        self.some = asyncio.Event()
        self._publishing = publishing
        self._topic = topic
        self._size = _BATCH
        self._failures = 0
        self._passed = 0
        self._tries: dict[int, tuple[int, int]] = {}

    async def run(self) -> None:
        while True:
            if not self.waiting:
                self.some.clear()
                await self.some.wait()
            await self._step()

    async def _step(self) -> None:
        batch = self._batch()
        rows = [row for row in batch if self._publishing.alive(row)]
        try:
            refused = await self._publish(rows)
            for row in rows:
                refusal = refused.get(row.record.id)
                if refusal is not None and refusal.fault == "record":
                    await self._publishing.refused(row, refusal.reason)
        except Exception as error:
            await self._failed(rows, error)
            return
        for row in batch:
            self.waiting.popleft()
            self._tries.pop(row.id, None)
        if len(refused) < len(rows):
            self._passed += 1
            self._failures = 0
        self._size = min(self._size * 2, _BATCH)
        # What an operator can mend waits, in its order, as does whatever comes behind it in this topic.
        held = [row for row in rows if (it := refused.get(row.record.id)) is not None and it.fault == "topic"]
        if held:
            self.waiting.extendleft(reversed(held))
            self._failures += 1
            log.error("topic %s takes nothing: %s", self._topic, refused[held[0].record.id].reason)
            await asyncio.sleep(pause(self._failures, _FIRST, _CAP))

    def _batch(self) -> list[OutboxRow]:
        """The next ones; a record that has failed alone goes alone."""
        batch: list[OutboxRow] = []
        for row in self.waiting:
            if len(batch) >= self._size or (batch and row.id in self._tries):
                break
            batch.append(row)
            if row.id in self._tries:
                break
        return batch

    async def _publish(self, rows: Sequence[OutboxRow]) -> dict[str, Refusal]:
        """What the broker refused, by record id."""
        refused: dict[str, Refusal] = {}
        if rows:
            try:
                await self._publishing.broker.publish([_addressed(row) for row in rows])
            except RecordsRefused as error:
                refused = {each.record.id: each for each in error.refusals}
            now = self._publishing.clock.monotonic()
            for row in rows:
                if row.record.id not in refused:
                    row.published = now
        return refused

    async def _failed(self, rows: Sequence[OutboxRow], error: Exception) -> None:
        """Find the record that is to blame, if it is one: take fewer at once; then let other keys pass, and see."""
        self._failures += 1
        log.warning("%d records of topic %s cannot be published now: %r", len(rows), self._topic, error)
        if len(rows) > 1:
            self._size = max(1, len(rows) // 8)
        elif rows:
            row = rows[0]
            tries, passed = self._tries.get(row.id, (0, self._passed))
            # While no other passes, the broker may just be down.
            tries += tries == 0 or passed != self._passed
            self._tries[row.id] = tries, self._passed
            if tries >= _TRIES:
                await self._publishing.refused(row, f"the broker failed {tries} times with this record: {error!r}")
                self.waiting.remove(row)
                del self._tries[row.id]
                return
            self._step_aside(row.record.key)
        if self._failures > 2 or len(self.waiting) < 2:
            await asyncio.sleep(pause(self._failures, _FIRST, _CAP))

    def _step_aside(self, key: str) -> None:
        behind = [each for each in self.waiting if each.record.key == key]
        self.waiting = deque([*(each for each in self.waiting if each.record.key != key), *behind])


def _addressed(row: OutboxRow) -> BrokerRecord:
    """The record with what a consumer in another process needs to keep its order and to confirm its row."""
    record = row.record
    headers = {**record.headers, ROW: str(row.id)}
    if row.after:
        headers[AFTER] = str(row.after)
    if row.waiting is not None:
        headers[GROUPS] = ",".join(sorted(row.waiting))
    return attrs.evolve(record, headers=headers, inline=None)


def _number(row: OutboxRow) -> int:
    return row.id
