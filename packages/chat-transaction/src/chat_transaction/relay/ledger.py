"""The ledger of what the owner of a shard runs in its own process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from chat_common.clock import Clock
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.database import Database
from chat_common.records import Consumer

from chat_transaction.consumers.consumption import Accepted
from chat_transaction.relay.settlements import Settlements, standing
from chat_transaction.sql import fencing, settling
from chat_transaction.sql.fencing import Fence
from chat_transaction.sql.outbox import OutboxRow, Parking

log = logging.getLogger(__name__)


class OwnersLedger:
    """`consumption.Ledger` over the rows in flight, by id.

    ``fence``: under which they may be run now, if at all. ``finished`` is told of a row that nobody here waits for any
    more, ``recovered`` of a (topic, key) that failed and goes on.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settlements: Settlements,
        rows: Mapping[str, OutboxRow],
        fence: Callable[[], Fence | None],
        finished: Callable[[OutboxRow], None],
        recovered: Callable[[tuple[str, str]], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._settlements = settlements
        self._tokens = rows
        self._fence = fence
        self._finished = finished
        self._recovered = recovered
        self.parked: dict[tuple[str, str], dict[str, int]] = {}
        """As `queries.parked_heads` reads it, and what was parked since."""
        self.failing: dict[tuple[str, str], int] = {}
        """(topic, key) → rows of it in flight, where the last attempt failed."""
        self._fresh: dict[tuple[str, str, str], int] = {}

    async def accept(self, consumer: Consumer, records: Sequence[BrokerRecord]) -> Accepted:
        fence = self._fence()
        if fence is None:
            return Accepted(())
        fencing.current.set(fence)
        group = consumer.group
        parked = self.parked.get((consumer.topic, group))
        accepted = []
        for record in records:
            row = self._tokens.get(record.id)
            if row is None or (row.waiting is not None and group not in row.waiting):
                continue
            if not row.handed_over_as(record):
                # Left from before the shard was lost and came back: it stands in front of rows that come before it.
                continue
            if parked and record.key in parked:
                self._park(row, group)
            else:
                accepted.append(record)
        return Accepted(accepted)

    def handled(self, consumer: Consumer, records: Sequence[BrokerRecord]) -> None:
        rows, group = self._tokens, consumer.group
        for record in records:
            row = rows.get(record.id)
            if row is None:
                continue
            if row.waiting is not None and row.handled is not None:
                row.waiting.discard(group)
                row.handled.add(group)
            if not row.waiting:
                self._finished(row)
            if record.attempt > 1:
                self._goes_on(record)

    async def failed(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        log.warning("%s of %s failed, attempt %d: %s", consumer.group, record.topic, record.attempt, reason)
        self.failing.setdefault((record.topic, record.key), 1)
        row = self._tokens.get(record.id)
        if row is None:
            return
        group = None
        if row.waiting is not None:
            group = consumer.group
            row.attempts = row.attempts or {}
            row.attempts[group] = record.attempt
        await self._database.change(settling.Failure(row.id, group, record.attempt, reason))

    async def bury(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        log.error("%s of %s buries a record after attempt %d: %s", consumer.group, record.topic, record.attempt, reason)
        await self._database.change(settling.Burial(consumer.group, record, reason, self._clock.wall_ms()))
        self.handled(consumer, [record])
        self._goes_on(record)

    async def park(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        log.error("%s of %s parks a key after attempt %d: %s", consumer.group, record.topic, record.attempt, reason)
        row = self._tokens.get(record.id)
        if row is None:
            return
        self.parked.setdefault((record.topic, consumer.group), {})[record.key] = row.id
        self._park(row, consumer.group, reason, record.attempt)
        self._goes_on(record)

    def _park(self, row: OutboxRow, group: str, reason: str | None = None, attempt: int = 0) -> None:
        topic, key = row.record.topic, row.record.key
        head = self.parked[topic, group][key]
        self._fresh[topic, group, key] = self._settlements.next_round
        row.retained = row.retained or {}
        row.retained[group] = Parking(head, reason, attempt)
        if row.waiting is not None:
            row.waiting.discard(group)
        if not row.waiting:
            self._finished(row)
        else:  # to be seen, and to last, while the others are at it
            self._settlements.retain(standing(row))

    def _goes_on(self, record: BrokerRecord) -> None:
        key = (record.topic, record.key)
        if self.failing.pop(key, None) is not None:
            self._recovered(key)

    def age(self) -> None:
        """A scan begins: what was parked, and is in the table by now, can be found released by it."""
        rounds = self._settlements.rounds
        self._fresh = {place: since for place, since in self._fresh.items() if since > rounds}

    def learn(self, heads: Mapping[tuple[str, str], Mapping[str, int]]) -> None:
        """What the owners before have parked."""
        for place, keys in heads.items():
            known = self.parked.setdefault(place, {})
            for key, head in keys.items():
                known.setdefault(key, head)

    def unpark(self, heads: Mapping[tuple[str, str], Mapping[str, int]]) -> set[tuple[str, str]]:
        """Keys whose parked head is gone from the table, released or dropped, go on: once nothing of them is on its
        way any more, or being written as parked, which would overtake the head. Returns the (topic, key) pairs that
        wait for that."""
        waiting: set[tuple[str, str]] = set()
        for place, keys in self.parked.items():
            topic = place[0]
            gone = [key for key in keys if key not in heads.get(place, {})]
            if gone:
                busy = {row.record.key for row in self._tokens.values() if row.record.topic == topic}
                for key in gone:
                    if key in busy or (*place, key) in self._fresh:
                        waiting.add((topic, key))
                    else:
                        del keys[key]
        return waiting
