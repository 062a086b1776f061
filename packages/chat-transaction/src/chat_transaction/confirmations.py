"""The ledger of consumers behind a broker: a row is done when it is handled, not when the broker took it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from chat_common.clock import Clock
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.database import Database
from chat_common.records import Consumer

from chat_transaction import rows

log = logging.getLogger(__name__)

ROW = "chat-row"
"""Header: the number of the record's row in the outbox."""
GROUPS = "chat-groups"
"""Header: the groups that still want the record, comma separated."""
_BATCH = 1_000


class Confirmations:
    """Deletes handled rows, whichever process's relay had published them; several groups are counted in a table.

    Records that did not come from an outbox (no `ROW` header) are run and not confirmed.
    """

    def __init__(self, database: Database, clock: Clock, told: Callable[[Iterable[str]], None]) -> None:
        self._database = database
        self._clock = clock
        self._told = told
        self._groups: Mapping[str, tuple[str, ...]] = {}
        self._waiting: list[rows.Confirmed] = []
        self._some = asyncio.Event()

    @asynccontextmanager
    async def opened(self, groups: Mapping[str, tuple[str, ...]]) -> AsyncIterator[None]:
        """``groups``: of each topic."""
        self._groups = groups
        task = asyncio.create_task(self._confirming(), name="outbox confirmations")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._confirm()

    async def accept(self, consumer: Consumer, records: Sequence[BrokerRecord]) -> Sequence[BrokerRecord]:
        wanted = [each for each in records if GROUPS not in each.headers or _wants(each, consumer.group)]
        if consumer.on_failure != "park" or not wanted:
            return wanted
        keys = tuple({record.key for record in wanted})
        parked = await self._database.read(rows.ParkedKeys(consumer.topic, consumer.group, keys))
        behind = [each for each in wanted if each.key in parked and _row(each)]
        if not behind:
            return wanted
        parking = [rows.Parking(_row(each), parked[each.key], consumer.group, None, each.attempt) for each in behind]
        await self._database.change_many(rows.settle, rows.Settlement((), parking))
        return [each for each in wanted if each not in behind]

    def handled(self, consumer: Consumer, records: Sequence[BrokerRecord]) -> None:
        groups = self._groups.get(consumer.topic, (consumer.group,))
        for record in records:
            if row := _row(record):
                self._waiting.append(rows.Confirmed(row, record.id, consumer.group, groups))
        if self._waiting:
            self._some.set()

    async def failed(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        log.warning("%s of %s failed, attempt %d: %s", consumer.group, record.topic, record.attempt, reason)
        if row := _row(record):
            await self._database.change(rows.Failure(row, record.attempt, reason))

    async def bury(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        log.error("%s of %s buries a record after attempt %d: %s", consumer.group, record.topic, record.attempt, reason)
        await self._database.change(rows.Burial(consumer.group, record, reason, self._clock.wall_ms()))
        self.handled(consumer, [record])

    async def park(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        log.error("%s of %s parks a key after attempt %d: %s", consumer.group, record.topic, record.attempt, reason)
        row = _row(record)
        if not row:
            return await self.bury(consumer, record, reason)
        parking = rows.Parking(row, row, consumer.group, reason, record.attempt)
        await self._database.change_many(rows.settle, rows.Settlement((), [parking]))

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
            await self._database.change_many(_confirm, batch)
            del self._waiting[: len(batch)]
            self._told([each.uid for each in batch if len(each.groups) == 1])


def _confirm(connection: object, batches: Sequence[Sequence[rows.Confirmed]]) -> Sequence[None]:
    rows.confirm(connection, [each for batch in batches for each in batch])
    return [None] * len(batches)


def _wants(record: BrokerRecord, group: str) -> bool:
    return group in record.headers[GROUPS].split(",")


def _row(record: BrokerRecord) -> int:
    return int(record.headers.get(ROW, 0))
