"""Records of one shard, waiting: in order, with keys held back after a failure. No I/O; time is given."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence

import attrs
from chat_common.ports.broker import BrokerRecord


class KeyedQueue:
    """What a shard's worker takes its batches from.

    A key that is held keeps its records back, later ones too, until its time has come; other keys go on.
    """

    __slots__ = ("_held", "_ready", "_times")

    def __init__(self) -> None:
        self._ready: deque[BrokerRecord] = deque()
        self._held: dict[str, deque[BrokerRecord]] = {}
        self._times: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._ready) + sum(map(len, self._held.values()))

    def put(self, record: BrokerRecord) -> None:
        self._ready.append(record)

    def take(self, limit: int, now: float) -> list[BrokerRecord]:
        """The next batch, in order per key; empty when nothing may run now."""
        ready, held = self._ready, self._held
        if not held:
            if len(ready) <= limit:
                batch = list(ready)
                ready.clear()
                return batch
            return [ready.popleft() for _ in range(limit)]
        while self._times and self._times[0][0] <= now:
            _, key = heapq.heappop(self._times)
            ready.extendleft(reversed(held.pop(key)))
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
        for record in (*(attrs.evolve(record, attempt=record.attempt + 1) for record in failed), *later):
            if record.key not in self._held:
                self._held[record.key] = deque()
                heapq.heappush(self._times, (until, record.key))
            self._held[record.key].append(record)

    def next_time(self) -> float | None:
        """When the next held key is due."""
        return self._times[0][0] if self._times else None
