"""The ledger of consumers behind a broker: a row is done when it is handled, not when the broker took it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from chat_common.clock import Clock
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.database import Database
from chat_common.records import Consumer

from chat_transaction.consumers.consumption import Accepted
from chat_transaction.headers import GROUPS, after_of, row_of
from chat_transaction.sql import queries, settling
from chat_transaction.sql.outbox import Parking
from chat_transaction.sql.settling import Retained

log = logging.getLogger(__name__)

_BATCH = 1_000
LET_GO = 5.0
"""Seconds that a record waits for the one before it. Then the broker seems to have lost that one, or gives it only once
this one is out of the way (an ordered queue does): it is let go, and the relay publishes both again, in order."""


class Confirmations:
    """Deletes handled rows, whichever process's relay had published them; several groups are counted in a table.

    ``told`` of what is gone; ``is_shared`` says of a topic whether it has several groups.

    Records that did not come from an outbox (no `headers.ROW`) are run and not confirmed.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        told: Callable[[Iterable[str]], None],
        is_shared: Callable[[str], bool] = lambda topic: True,
    ) -> None:
        self._database = database
        self._clock = clock
        self._told = told
        self._is_shared = is_shared
        self._waiting: list[settling.Confirmed] = []
        self._unconfirmed: dict[str, set[int]] = {}
        self._some = asyncio.Event()
        self._waits: dict[tuple[str, str], float] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._confirming(), name="outbox confirmations")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._confirm()

    async def accept(self, consumer: Consumer, records: Sequence[BrokerRecord]) -> Accepted:
        """The table is the truth, the broker a conveyor: what is handled already is dropped, and what stands behind a
        row that is not handled yet waits for it, even if the broker has lost or overtaken that one."""
        # In order: copies of what was lost come behind what had to wait for it.
        wanted = sorted(
            (each for each in records if GROUPS not in each.headers or consumer.group in _groups(each)), key=row_of
        )
        asked = ({row_of(each) for each in wanted} | {after_of(each) for each in wanted}) - {0}
        if not asked:
            return Accepted(wanted)
        shared = any(GROUPS in each.headers for each in wanted) or self._is_shared(consumer.topic)
        unconfirmed = self._unconfirmed.setdefault(consumer.group, set())
        handled = asked & unconfirmed
        pending, absent = await self._database.read(queries.Pending(consumer.group, tuple(sorted(asked)), shared))
        pending -= handled | unconfirmed
        parked = await self._parked(consumer, wanted) if consumer.on_failure == "park" else {}
        run: list[BrokerRecord] = []
        wait: list[BrokerRecord] = []
        behind: list[Retained] = []
        running: set[int] = set()
        waited = 0.0
        for record in wanted:
            row, after = row_of(record), after_of(record)
            if not row:
                run.append(record)
            elif row not in pending or row in absent or row in running:
                continue
            elif record.key in parked:
                behind.append(Retained(row, 0, retained={consumer.group: Parking(parked[record.key])}))
            elif after in pending and after not in running:
                since = self._has_waited(consumer.group, record.id)
                if since < LET_GO:
                    wait.append(record)
                    waited = max(waited, since)
                else:
                    del self._waits[consumer.group, record.id]
            else:
                self._waits.pop((consumer.group, record.id), None)
                running.add(row)
                run.append(record)
        if behind:
            await self._database.change_many(settling.park, behind)
        return Accepted(run, wait, waited)

    def _has_waited(self, group: str, id: str) -> float:
        """Seconds since this one had to wait for the first time."""
        now = self._clock.monotonic()
        since = self._waits.setdefault((group, id), now)
        if len(self._waits) > _BATCH * 10:  # What was taken to another process in the meantime.
            self._waits = {key: at for key, at in self._waits.items() if now - at < 2 * LET_GO}
        return now - since

    async def _parked(self, consumer: Consumer, records: Sequence[BrokerRecord]) -> dict[str, int]:
        keys = tuple({record.key for record in records})
        return await self._database.read(queries.ParkedKeys(consumer.topic, consumer.group, keys)) if keys else {}

    def handled(self, consumer: Consumer, records: Sequence[BrokerRecord]) -> None:
        for record in records:
            if row := row_of(record):
                self._waiting.append(settling.Confirmed(row, record.id, consumer.topic, consumer.group))
                self._unconfirmed.setdefault(consumer.group, set()).add(row)
        if self._waiting:
            self._some.set()

    async def failed(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        log.warning("%s of %s failed, attempt %d: %s", consumer.group, record.topic, record.attempt, reason)
        if row := row_of(record):
            group = consumer.group if self._is_shared(consumer.topic) else None
            await self._database.change(settling.Failure(row, group, record.attempt, reason))

    async def bury(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        log.error("%s of %s buries a record after attempt %d: %s", consumer.group, record.topic, record.attempt, reason)
        await self._database.change(settling.Burial(consumer.group, record, reason, self._clock.wall_ms()))
        self.handled(consumer, [record])

    async def park(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        log.error("%s of %s parks a key after attempt %d: %s", consumer.group, record.topic, record.attempt, reason)
        row = row_of(record)
        if not row:
            return await self.bury(consumer, record, reason)
        parking = Parking(row, reason, record.attempt)
        await self._database.change_many(settling.park, [Retained(row, 0, retained={consumer.group: parking})])

    async def _confirming(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            try:
                await self._confirm()
            except Exception:
                log.exception("handled rows cannot be confirmed now")
                await asyncio.sleep(0.5)
                self._some.set()

    async def _confirm(self) -> None:
        while self._waiting:
            batch = self._waiting[:_BATCH]
            gone = await self._database.change_many(_confirm, batch)
            del self._waiting[: len(batch)]
            for each in batch:
                self._unconfirmed[each.group].discard(each.id)
            self._told(gone)


def _confirm(connection: object, batches: Sequence[Sequence[settling.Confirmed]]) -> Sequence[set[str]]:
    gone = settling.confirm(connection, [each for batch in batches for each in batch])
    return [{each.uid for each in batch} & gone for batch in batches]


def _groups(record: BrokerRecord) -> list[str]:
    return record.headers[GROUPS].split(",")
