"""Where rows go from here: to the consumers of this process, or to a broker."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from chat_common.clock import Clock
from chat_common.ports.broker import Broker
from chat_common.ports.database import Database
from chat_common.ports.outbox import ENSURED_TOPIC
from chat_common.records import Consumer

from chat_transaction.brokers.memory import MemoryBroker
from chat_transaction.consumers.consumption import Consumption, Ledger
from chat_transaction.relay.confirmations import Confirmations
from chat_transaction.relay.groups import Groups
from chat_transaction.relay.in_flight import InFlight
from chat_transaction.relay.publishing import Publishing
from chat_transaction.relay.settlements import Settlements
from chat_transaction.settings import RelaySettings
from chat_transaction.sql import queries, settling
from chat_transaction.sql.outbox import OutboxRow, Parking
from chat_transaction.sql.settling import Retained

log = logging.getLogger(__name__)


class Transport:
    """In this process a row's way ends with its consumers; behind a broker it ends with a confirmation, which any
    process may write. Ensured functions need no broker: they are run by the owner of their shard.

    The table is the truth and the broker a conveyor: what a broker has lost is published again, what it refuses is
    given up by every group that waits for it.
    """

    def __init__(
        self,
        broker: Broker,
        database: Database,
        clock: Clock,
        settings: RelaySettings,
        in_flight: InFlight,
        settlements: Settlements,
    ) -> None:
        self._broker = broker
        self._database = database
        self._clock = clock
        self._settings = settings
        self._in_flight = in_flight
        self._settlements = settlements
        self._local = broker if isinstance(broker, MemoryBroker) else MemoryBroker()
        self.has_broker = self._local is not broker
        self.groups = Groups(database, clock, settings.group_patience, self.is_local)
        self._publishing = Publishing(broker, clock, in_flight.is_current, self._refused)
        self._confirmations = Confirmations(
            database, clock, self._confirmed, lambda topic: topic not in self.groups.single
        )
        self._parks: frozenset[tuple[str, str]] = frozenset()
        self._consumptions: dict[tuple[str, str], Consumption] = {}
        self._checked_at = 0.0

    def is_local(self, topic: str) -> bool:
        """Whether rows of the topic stay in this process."""
        return not self.has_broker or topic == ENSURED_TOPIC

    @asynccontextmanager
    async def opened(self, consumers: Sequence[Consumer], ledger: Ledger) -> AsyncIterator[None]:
        """Run the consumers while the context is open; those of local topics report to ``ledger``."""
        self._parks = frozenset((each.topic, each.group) for each in consumers if each.on_failure == "park")
        async with AsyncExitStack() as stack:
            if self.has_broker:
                await stack.enter_async_context(self._local.opened())
                await stack.enter_async_context(self._confirmations.opened())
                await stack.enter_async_context(self._publishing.opened())
            for consumer in consumers:
                topic, first, cap = consumer.topic, self._settings.retry_first, self._settings.retry_cap
                local = self.is_local(topic)
                run = Consumption(consumer, ledger if local else self._confirmations, retry_first=first, retry_cap=cap)
                self._consumptions[topic, consumer.group] = run
                subscribe = self._local.subscribe if local else self._broker.subscribe
                await stack.enter_async_context(subscribe(topic, consumer.group, run, batch=consumer.batch))
            yield

    def outcomes(self) -> dict[tuple[str, str, str], int]:
        """As `chat_common.ports.outbox.Relay.outcomes`."""
        runs = self._consumptions.items()
        return {(*place, outcome): count for place, run in runs for outcome, count in run.outcomes.items()}

    def send(self, rows: Sequence[OutboxRow]) -> None:
        """On their way, in this order."""
        if not self.has_broker:
            return self._local.offer([row.record for row in rows])
        local = [row.record for row in rows if self.is_local(row.record.topic)]
        if local:
            self._local.offer(local)
        if len(local) < len(rows):
            self._publishing.put([row for row in rows if not self.is_local(row.record.topic)])
        return None

    def drop(self, row: OutboxRow) -> None:
        """Forget one that is in flight: it is in the table; what is queued of it is not accepted any more."""
        self._in_flight.drop(row)
        self._publishing.passed(row)

    # --- what a broker does with them ---------------------------------------------------------------------------

    def published(self, topics: Collection[str]) -> list[OutboxRow]:
        """The rows of these topics that a broker has."""
        return self._in_flight.of_topics({topic for topic in topics if not self.is_local(topic)})

    async def check_full(self) -> None:
        """Topics with no room are not read. Are any of their rows handled elsewhere, or lost by the broker? Without
        this question a broker that loses as many rows as may be in flight would stop the topic for good."""
        now = self._clock.monotonic()
        if not self._in_flight.full or now - self._checked_at < self._settings.scan_interval * 0.9:
            return
        if watched := self.published(self._in_flight.full):
            self._checked_at = now
            self.check(watched, await self._database.read(queries.Present(tuple(row.id for row in watched))))

    def check(self, watched: Iterable[OutboxRow], present: Collection[int]) -> None:
        """Of these rows only the ``present`` numbers are in the table: forget the others, which were handled elsewhere;
        publish again what the broker seems to have lost."""
        here: list[OutboxRow] = []
        for row in watched:
            if row.id in present:
                here.append(row)
            elif self._in_flight.is_current(row):  # it may have ended while the table was read
                self.drop(row)
        self._publishing.republish(here, self._settings.republish_after)

    def _confirmed(self, ids: Iterable[str]) -> None:
        """These rows were handled and are deleted."""
        for id in ids:
            row = self._in_flight.confirm(id)
            if row is not None:
                self._publishing.passed(row)

    async def _refused(self, row: OutboxRow, reason: str) -> None:
        """The broker will never take it: every group that waits for it gives it up."""
        record = row.record
        log.error("a record of %s cannot be published: %s", record.topic, reason)
        parked: dict[str, Parking | None] = {}
        groups = row.waiting or self.groups.of(record.topic)
        for group in sorted(groups):
            if (record.topic, group) in self._parks:
                parked[group] = Parking(row.id, reason, record.attempt)
            else:
                await self._database.change(settling.Burial(group, record, reason, self._clock.wall_ms()))
        # The dead letters are written before the row is settled: a crash in between buries again, once.
        if self._in_flight.remove(record.id) is not None:
            self._publishing.passed(row)
        handled = frozenset(groups - parked.keys())
        self._settlements.retain(Retained(row.id, row.shard, handled, parked), over=True)
        await self._settlements.write()
