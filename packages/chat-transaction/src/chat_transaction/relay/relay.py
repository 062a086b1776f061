"""The relay: from committed rows to consumers, and back to deleted rows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from chat_common.clock import Clock
from chat_common.ports.broker import Broker
from chat_common.ports.database import Database
from chat_common.records import Consumer, Ensured

from chat_transaction.brokers.delivery import persistently
from chat_transaction.consumers import inbox
from chat_transaction.consumers.consumption import distinct
from chat_transaction.consumers.ensured import EnsuredCalls
from chat_transaction.relay.groups import Groups
from chat_transaction.relay.in_flight import InFlight
from chat_transaction.relay.intake import Intake
from chat_transaction.relay.ledger import OwnersLedger
from chat_transaction.relay.membership import Membership
from chat_transaction.relay.ownership import Ownership
from chat_transaction.relay.reader import Reader
from chat_transaction.relay.settlements import Settlements, standing
from chat_transaction.relay.transport import Transport
from chat_transaction.settings import RelaySettings
from chat_transaction.sql.leases import Leases, ensure_shards
from chat_transaction.sql.outbox import OutboxRow, SqlOutbox
from chat_transaction.sql.registry import Capabilities
from chat_transaction.sql.settling import Retained

log = logging.getLogger(__name__)


class SqlRelay:
    """`chat_common.ports.outbox.Relay` over `SqlOutbox`.

    It only says who is asked when. The `Reader` knows how far the table was read, the `Intake` which rows may go, the
    `Transport` where to; `InFlight` holds what has gone, the ledger and the `Settlements` bring back what became of it;
    the `Ownership` says which shards are this relay's, the `Groups` who wants a topic's rows.
    """

    _groups: Groups
    _membership: Membership

    def __init__(
        self, outbox: SqlOutbox, broker: Broker, database: Database, clock: Clock, settings: RelaySettings | None = None
    ) -> None:
        settings = settings or RelaySettings()
        self._outbox = outbox
        self._database = database
        self._clock = clock
        self._settings = settings
        self._others: Callable[[], None] | None = None
        self._reader = reader = Reader(clock, settings, database.commit_mark)
        self._ownership = ownership = Ownership(Leases(database, clock, settings.lease), clock)
        # Functions of what stands further down: called for rows only, and there are none before `running`.
        drained = lambda topic: self._membership.drained(topic)  # noqa: E731
        fence = lambda: self._membership.fence()  # noqa: E731
        now = lambda: (self._groups.registered, ownership.fences)  # noqa: E731
        self._in_flight = in_flight = InFlight(settings.capacity, reader.wake, drained)
        self._settlements = settlements = Settlements(database, settings.purge_interval, now)
        self._transport = transport = Transport(broker, database, clock, settings, in_flight, settlements)
        self._groups = transport.groups
        self._ledger = ledger = OwnersLedger(
            database, clock, settlements, in_flight.rows, fence, self._finished, self._recovered
        )
        self._intake = intake = Intake(in_flight, ownership, self._groups, ledger.failing, reader.wake_at)
        self._membership = Membership(database, ownership, in_flight, settlements, transport, intake, ledger, reader)

    # --- life ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self, consumers: Sequence[Consumer], ensured: Sequence[Ensured]) -> AsyncIterator[None]:
        every = distinct([*consumers, EnsuredCalls(ensured).consumer()])
        self._membership.capabilities = Capabilities.of(every, ensured, broker=self._transport.has_broker)
        await self._database.change(ensure_shards)
        # Before anything is subscribed: the first pass must know whose shards and groups there are.
        await self._membership.renew()
        async with self._transport.opened(every, self._ledger):
            works = {
                "the relay's reading": self._reading,
                "the relay's settling": self._settlements.writing,
                "the renewal of the relay's leases": self._renewing,
                "the return of absent groups": self._membership.reviving,
                "the tidying of the inbox": self._forgetting,
            }
            tasks = [
                asyncio.create_task(persistently(work, name, pause=1.0), name=name) for name, work in works.items()
            ]
            # Reports are wanted only now that a pass is sure to follow: it brings what was committed before.
            self._outbox.attach(self)
            try:
                yield
            finally:
                self._outbox.attach(None)
                if not self._ledger.failing and not await self._in_flight.emptied(self._settings.drain_timeout):
                    log.info("the relay leaves %d rows to the next start", len(self._in_flight.rows))
                self._reader.stop()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        # After the consumers have ended, and before the leases go: what some groups have handled is theirs only once,
        # even if the others get it after the next start.
        for row in self._in_flight.rows.values():
            if row.handled or row.retained:
                self._settlements.retain(standing(row))
        await self._settlements.write()
        await self._ownership.give_back()

    def outcomes(self) -> Mapping[tuple[str, str, str], int]:
        return self._transport.outcomes()

    def in_flight(self) -> Mapping[str, int]:
        return self._in_flight.counts

    # --- rows, on their way out ---------------------------------------------------------------------------------

    def notify(self, others: Callable[[], None] | None) -> None:
        self._others = others

    def look(self) -> None:
        self._reader.look()

    def committed(self, rows: Sequence[OutboxRow]) -> None:
        if self._others is not None and any(row.shard not in self._ownership.open for row in rows):
            self._others()
        if ready := self._reader.report(rows, self._in_flight.numbers):
            self._hand_over(ready)

    def wake(self) -> None:
        self._reader.wake()

    async def _reading(self) -> None:
        idle = 0
        while True:
            await self._reader.wait(alone=self._ownership.alone, idle=idle, busy=bool(self._in_flight.rows))
            idle = 0 if await self._read() else idle + 1

    async def _read(self) -> int:
        """One pass over the table; how many rows were new."""
        await self._transport.check_full()
        # Before the table is read: a row that is settled by now is not in the snapshot, one that is settled while it is
        # read may be, and must still be known.
        self._in_flight.forget(self._settlements.take_settled())
        self._ledger.age()
        scan = self._reader.begin()
        query = self._intake.begin(
            scan,
            now=self._clock.wall_ms(),
            limit=self._settings.scan_limit,
            heads=scan.full and any(self._ledger.parked.values()),
        )
        watched = self._transport.published(query.topics) if scan.full else []
        found = await self._database.read(query)
        if not self._reader.is_valid(scan):
            return 0
        if found.complete and watched:
            self._transport.check(watched, found.present)
        if found.heads is not None:
            # Before the rows are handed over: those of a key that is being released must wait for its head.
            self._intake.release(self._ledger.unpark(found.heads))
        rows = self._reader.end(scan, found)
        self._hand_over(rows, scanned=True)
        if scan.full and not self._reader.is_behind and self._intake.end():
            self._reader.wake()
        # Reported above the pass, so behind all that it has brought.
        self.committed(self._reader.early())
        return len(rows)

    def _hand_over(self, rows: Iterable[OutboxRow], *, scanned: bool = False) -> None:
        sent: list[OutboxRow] = []
        for row in rows:
            if not self._intake.admits(row, scanned=scanned):
                continue
            topic = row.record.topic
            if topic not in self._groups.single or row.only is not None:
                anybody = self._groups.divide(row)
                if (row.retained and not (anybody and self._transport.is_local(topic))) or not anybody:
                    self._settlements.retain(Retained(row.id, row.shard, retained=row.retained or {}), over=not anybody)
                if not anybody:
                    continue
            # In flight before it is sent: a consumer may ask the ledger for it at once.
            self._in_flight.add(row)
            sent.append(row)
        if sent:
            self._transport.send(sent)

    # --- rows, on their way back --------------------------------------------------------------------------------

    def _finished(self, row: OutboxRow) -> None:
        self._in_flight.remove(row.record.id)
        self._settlements.finish(row)

    def _recovered(self, key: tuple[str, str]) -> None:
        """A failing key goes on; what was left in the table for its sake is read again."""
        if self._intake.waits(key):
            self._reader.wake()

    async def _forgetting(self) -> None:
        retention = self._settings.inbox_retention
        await inbox.forgetting(self._database, self._clock, retention, lambda: 0 in self._ownership.fences)

    async def _renewing(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease / 3)
            await self._membership.renew()
