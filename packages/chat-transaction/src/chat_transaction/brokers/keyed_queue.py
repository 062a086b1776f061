"""Records of one shard, waiting: in order, with keys held back after a failure. No I/O; time is given."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence

import attrs
from chat_common.ports.broker import BrokerRecord

from chat_transaction.headers import row_of


class KeyedQueue:
    """What a shard's worker takes its batches from.

    A key that is held keeps its records back, later ones too, until its time has come; other keys go on. A key that
    has not failed, and only waits for a record that has not come, goes on with the next one that comes. What goes on is
    in order of the rows (`headers.ROW`), where it comes from an outbox.
    """

    __slots__ = ("_due", "_held", "_ready", "_times", "_waiting")

    def __init__(self) -> None:
        self._ready: deque[BrokerRecord] = deque()
        self._held: dict[str, deque[BrokerRecord]] = {}
        self._due: dict[str, float] = {}
        self._times: list[tuple[float, str]] = []
        self._waiting: set[str] = set()

    def __len__(self) -> int:
        return len(self._ready) + sum(map(len, self._held.values()))

    def put(self, record: BrokerRecord) -> None:
        self._ready.append(record)
        if record.key in self._waiting:
            others = [each for each in self._ready if each.key != record.key]
            chain = [*self._release(record.key), *(each for each in self._ready if each.key == record.key)]
            self._ready = deque([*sorted(chain, key=row_of), *others])

    def take(self, limit: int, now: float) -> list[BrokerRecord]:
        """The next batch, in order per key; empty when nothing may run now."""
        ready, held = self._ready, self._held
        if not held:
            if len(ready) <= limit:
                batch = list(ready)
                ready.clear()
                return batch
            return [ready.popleft() for _ in range(limit)]
        while (time := self.next_time()) is not None and time <= now:
            ready.extendleft(reversed(sorted(self._release(self._times[0][1]), key=row_of)))
        batch = []
        while ready and len(batch) < limit:
            record = ready.popleft()
            if record.key in held:
                held[record.key].append(record)
            else:
                batch.append(record)
        return batch

    def hold(self, failed: Sequence[BrokerRecord], later: Sequence[BrokerRecord], until: float) -> None:
        """Keep their keys back until then; ``failed`` come again with the next attempt, before ``later``."""
        self._waiting |= {record.key for record in later} - self._held.keys()
        self._waiting -= {record.key for record in failed}
        for record in (*(attrs.evolve(record, attempt=record.attempt + 1) for record in failed), *later):
            if record.key not in self._held:
                self._held[record.key] = deque()
                self._due[record.key] = until
                heapq.heappush(self._times, (until, record.key))
            self._held[record.key].append(record)

    def next_time(self) -> float | None:
        """When the next held key is due."""
        while self._times and self._due.get(self._times[0][1]) != self._times[0][0]:
            heapq.heappop(self._times)  # it went on before
        return self._times[0][0] if self._times else None

    def _release(self, key: str) -> deque[BrokerRecord]:
        self._waiting.discard(key)
        del self._due[key]
        return self._held.pop(key)
