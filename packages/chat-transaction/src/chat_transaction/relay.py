"""The relay: from committed rows to consumers, and back to deleted rows."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
from chat_common.clock import Clock
from chat_common.ports.broker import Broker, BrokerRecord
from chat_common.ports.database import Database
from chat_common.ports.outbox import ENSURED_TOPIC
from chat_common.records import Consumer, Ensured

from chat_transaction import fencing, rows
from chat_transaction.confirmations import AFTER, GROUPS, ROW, Confirmations
from chat_transaction.consumption import Accepted, Consumption
from chat_transaction.ensured import EnsuredCalls
from chat_transaction.fencing import Fence
from chat_transaction.leases import Held, Leases, plant
from chat_transaction.memory_broker import MemoryBroker
from chat_transaction.outbox import SqlOutbox, Token
from chat_transaction.settings import RelaySettings
from chat_transaction.tables import SHARDS

log = logging.getLogger(__name__)

_EARLY = 0.005
"""Seconds to wait for the report of a row that is missing between two reported ones, before looking it up."""
_KEY_LIMIT = 200
"""Rows of one failing key that may be on their way; the others wait in the table, so that it cannot fill it all."""
_PUBLISH = 500

Key = tuple[str, str]


class SqlRelay:
    """`chat_common.ports.outbox.Relay` over `SqlOutbox`.

    Rows reach it in two ways, and in one order. *Reported*: `committed` hands over rows whose numbers follow the last
    one without a gap; nothing is read from the database. *Scanned*: at start, after a gap, when it was full, and every
    ``scan_interval``, the table is read. Handled rows are deleted in batches, which join other commits.
    """

    def __init__(
        self, outbox: SqlOutbox, broker: Broker, database: Database, clock: Clock, settings: RelaySettings | None = None
    ) -> None:
        self._outbox = outbox
        self._broker = broker
        self._database = database
        self._clock = clock
        self._settings = settings or RelaySettings()
        self._leases = Leases(database, clock, self._settings.lease)
        self._held = Held({}, 0.0)
        self._leaving: frozenset[int] = frozenset()
        self._groups: dict[str, tuple[str, ...]] = {}
        self._open = False
        self._behind = True
        self._full = True
        self._head = 0
        self._floor = 0
        self._full_at = 0.0
        self._early: dict[int, Token] = {}
        self._gap: asyncio.TimerHandle | None = None
        self._known: set[int] = set()
        self._gone: list[int] = []
        self._by_uid: dict[str, Token] = {}
        self._done: list[int] = []
        self._parking: list[rows.Parking] = []
        self._parked: dict[tuple[str, str], dict[str, int]] = {}
        self._fresh: dict[tuple[str, str, str], bool] = {}
        self._failing: dict[Key, int] = {}
        self._skipped: set[Key] = set()
        self._catching: set[Key] = set()
        # In this process a row's way ends here; behind a broker it ends with a confirmation. Ensured functions need
        # no broker: they are run by the owner of their shard.
        self._local = broker if isinstance(broker, MemoryBroker) else MemoryBroker()
        self._outgoing: deque[Token] = deque()
        self._confirmations = Confirmations(database, clock, self._confirmed)
        self._progress: dict[str, float] = {}
        self._last: dict[Key, int] = {}
        self._scan_now = asyncio.Event()
        self._empty = asyncio.Event()
        self._some_done = asyncio.Event()
        self._many_done = asyncio.Event()
        self._outgoing_any = asyncio.Event()
        self._apply = rows.settle

    # --- life ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self, consumers: Sequence[Consumer], ensured: Sequence[Ensured]) -> AsyncIterator[None]:
        every = [*consumers, EnsuredCalls(ensured).consumer()]
        groups: dict[str, tuple[str, ...]] = {}
        for consumer in every:
            if consumer.group in groups.get(consumer.topic, ()):
                raise ValueError(f"two consumers of topic {consumer.topic!r} share the group {consumer.group!r}")
            groups[consumer.topic] = (*groups.get(consumer.topic, ()), consumer.group)
        self._groups = groups
        await self._database.change(plant)
        self._parked = await self._database.read(rows.parked_heads)
        await self._renew()
        async with AsyncExitStack() as stack:
            if self._local is not self._broker:
                await stack.enter_async_context(self._local.opened())
                await stack.enter_async_context(self._confirmations.opened(groups))
            for consumer in every:
                broker = self._local if self._is_local(consumer.topic) else self._broker
                ledger = self if self._is_local(consumer.topic) else self._confirmations
                run = Consumption(
                    consumer, ledger, retry_first=self._settings.retry_first, retry_cap=self._settings.retry_cap
                )
                await stack.enter_async_context(
                    broker.subscribe(consumer.topic, consumer.group, run, batch=consumer.batch)
                )
            loops = [self._scanning, self._purging, self._renewing, self._publishing]
            tasks = [asyncio.create_task(self._persist(loop), name=f"outbox {loop.__name__}") for loop in loops]
            self._open = True
            self._outbox.attach(self)
            try:
                yield
            finally:
                self._outbox.attach(None)
                await self._drain()
                self._open = False
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        await self._settle()
        await self._leases.give_back()

    def _is_local(self, topic: str) -> bool:
        return self._local is self._broker or topic == ENSURED_TOPIC

    async def _drain(self) -> None:
        """Wait a little for what is on its way; what is not handled then waits in the table."""
        self._empty.clear()
        if self._by_uid and not self._failing:
            try:
                async with asyncio.timeout(self._settings.drain):
                    await self._empty.wait()
            except TimeoutError:
                log.info("the relay leaves %d rows to the next start", len(self._by_uid))

    async def _persist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` for ever, again after a pause when it fails: a database comes back."""
        while True:
            try:
                await work()
            except Exception:
                log.exception("the relay's %s failed", getattr(work, "__name__", "work"))
                await asyncio.sleep(min(1.0, self._settings.scan_interval))

    # --- reported rows ------------------------------------------------------------------------------------------

    def committed(self, tokens: Sequence[Token]) -> None:
        """Hand over what follows the last row without a gap; keep the rest until the gap is closed."""
        early, head = self._early, self._head
        ready: list[Token] = []
        for token in tokens:
            if token.id == head + 1 and not self._behind:
                head += 1
                ready.append(token)
                while early and (following := early.pop(head + 1, None)) is not None:
                    head += 1
                    ready.append(following)
            elif token.id > head:
                early[token.id] = token
            elif token.id not in self._known:
                # Numbered earlier, committed later: only the table knows whether it was run already.
                self.wake()
        self._head = head
        if ready:
            self._hand_over(ready)
        if early:
            if self._behind:
                self._scan_now.set()
                if len(early) > self._settings.capacity:
                    early.clear()
            elif self._gap is None:
                self._gap = asyncio.get_running_loop().call_later(_EARLY, self._look_up_gap)

    def wake(self) -> None:
        """Look into the whole table now: somebody else wrote, or time has come for a delayed row."""
        self._full = True
        self._scan_now.set()

    def _look_up_gap(self) -> None:
        self._gap = None
        if self._early:
            self._behind = True
            self._scan_now.set()

    # --- scanned rows -------------------------------------------------------------------------------------------

    async def _scanning(self) -> None:
        settings, idle = self._settings, 0
        while True:
            # Beside other relays the table is looked at often, because their writers report to them and not to us;
            # less often, up to four times, while there is nothing to find.
            often = settings.shared_scan_interval * min(4, 1 + idle)
            interval = settings.scan_interval if self._held.alone else min(often, settings.scan_interval)
            try:
                async with asyncio.timeout(interval):
                    await self._scan_now.wait()
            except TimeoutError:
                self._full = self._full or self._clock.monotonic() - self._full_at >= settings.scan_interval * 0.9
            self._scan_now.clear()
            idle = 0 if await self._scan() else idle + 1

    async def _scan(self) -> int:
        """Look into the table once; how many rows were new."""
        room = self._settings.capacity - len(self._by_uid)
        if room <= 0:
            self._behind = True
            await self._look_after_all()
            return 0
        # Deleted rows are forgotten only now: a scan that began before their deletion may still have seen them.
        self._known.difference_update(self._gone)
        self._gone.clear()
        self._fresh = {place: settled for place, settled in self._fresh.items() if not settled}
        full, self._full = self._full, False
        if full:
            self._full_at = self._clock.monotonic()
        head = self._head
        # A key that is skipped again while this scan runs has rows that its snapshot may lack.
        self._catching, self._skipped = self._catching | self._skipped, set()
        excluded = {key for key in self._catching if self._failing.get(key, 0) >= _KEY_LIMIT}
        query = rows.Scan(
            now=self._clock.wall_ms(),
            floor=0 if full else self._floor,
            limit=min(room, self._settings.scan_limit),
            known=self._known,
            topics=tuple(self._groups),
            excluded=tuple(excluded)[:500],
            shards=None if len(self._held.fences) == SHARDS else tuple(self._held.fences),
            heads=any(self._parked.values()),
        )
        before = [] if self._local is self._broker or not full else list(self._by_uid.values())
        found = await self._database.read(query)
        if found.complete and before:
            self._look_after([each for each in before if not self._is_local(each.record.topic)], found.present)
        if found.heads is not None:
            self._unpark(found.heads)
        tokens = []
        for token in found.tokens:
            reported = self._early.pop(token.id, None)
            if reported is not None:
                token.record = reported.record
            tokens.append(token)
        if found.complete:
            self._behind = False
            self._head = max(self._head, found.top)
            if full:
                # Rows are seen when they are committed, not in the order of their numbers: quick scans look back.
                self._floor = head if found.tokens else self._head
                self._catching = excluded
                if self._skipped - excluded:
                    self.wake()
        else:
            self._behind = True
            self._full = self._full or full
            self._scan_now.set()
        if found.next_due is not None:
            self._wake_at(found.next_due)
        self._hand_over(tokens, scanned=True)
        if found.complete and self._early:
            late = [self._early.pop(id) for id in sorted(self._early)]
            self.committed([token for token in late if token.id > self._head])
        return len(tokens)

    def _wake_at(self, due_at: int) -> None:
        asyncio.get_running_loop().call_later(max(0.0, (due_at - self._clock.wall_ms()) / 1000), self.wake)

    # --- hand over ----------------------------------------------------------------------------------------------

    def _hand_over(self, tokens: Iterable[Token], *, scanned: bool = False) -> None:
        fences = self._held.fences
        records: list[BrokerRecord] = []
        for token in tokens:
            record = token.record
            groups = self._groups.get(record.topic)
            if groups is None or token.shard not in fences or token.id in self._known:
                continue
            if token.due_at and not scanned:
                self._wake_at(token.due_at)
                continue
            if self._failing or self._skipped or self._catching:
                key = (record.topic, record.key)
                count = self._failing.get(key)
                is_late = not scanned and (key in self._skipped or key in self._catching)
                if is_late or (count is not None and count >= _KEY_LIMIT):
                    self._skipped.add(key)
                    continue
                if count is not None:
                    self._failing[key] = count + 1
            if token.waiting is None and len(groups) > 1:
                token.waiting = set(groups)
            self._known.add(token.id)
            self._by_uid[record.id] = token
            if self._local is self._broker or record.topic == ENSURED_TOPIC:
                records.append(record)
            else:
                key = (record.topic, record.key)
                token.after = self._last.get(key, 0)
                self._last[key] = token.id
                self._outgoing.append(token)
        if records:
            self._local.offer(records)
        if self._outgoing:
            self._outgoing_any.set()
        if len(self._by_uid) >= self._settings.capacity:
            self._behind = True

    # --- through a broker ---------------------------------------------------------------------------------------

    async def _publishing(self) -> None:
        outgoing = self._outgoing
        while True:
            if not outgoing:
                self._outgoing_any.clear()
                await self._outgoing_any.wait()
            count = min(len(outgoing), _PUBLISH)
            tokens = [outgoing[number] for number in range(count)]
            tokens = [token for token in tokens if token.record.id in self._by_uid]
            if tokens:
                await self._broker.publish([self._addressed(token) for token in tokens])
            for token in tokens:
                token.published = self._clock.monotonic()
            for _ in range(count):
                outgoing.popleft()

    def _addressed(self, token: Token) -> BrokerRecord:
        """The record with what a consumer in another process needs to keep its order and to confirm its row."""
        record = token.record
        headers = {**record.headers, ROW: str(token.id)}
        if token.after:
            headers[AFTER] = str(token.after)
        if token.waiting is not None:
            headers[GROUPS] = ",".join(sorted(token.waiting))
        return attrs.evolve(record, headers=headers, live=None)

    def _confirmed(self, uids: Iterable[str]) -> None:
        """These rows were handled in this process and are deleted."""
        now = self._clock.monotonic()
        for uid in uids:
            token = self._by_uid.pop(uid, None)
            if token is not None:
                self._gone.append(token.id)
                self._pass(token, now)

    def _pass(self, token: Token, now: float) -> None:
        key = (token.record.topic, token.record.key)
        self._progress[token.record.topic] = now
        if self._last.get(key) == token.id:
            del self._last[key]

    async def _look_after_all(self) -> None:
        """While no further row has a place: of those on their way, are any handled elsewhere, or lost by the broker?

        Without this a broker that loses as many rows as a relay may hold would stop it for good.
        """
        if self._local is self._broker or self._clock.monotonic() - self._full_at < self._settings.scan_interval * 0.9:
            return
        self._full_at = self._clock.monotonic()
        known = [token for token in self._by_uid.values() if not self._is_local(token.record.topic)]
        self._look_after(known, await self._database.read(rows.Present(tuple(token.id for token in known))))

    def _look_after(self, known: Iterable[Token], present: Collection[int]) -> None:
        """After a full scan: forget what is handled elsewhere; publish again what a broker seems to have lost."""
        now, patience = self._clock.monotonic(), self._settings.republish_after
        lost = []
        for token in known:
            if token.id not in present:
                if self._by_uid.pop(token.record.id, None) is not None:
                    self._known.discard(token.id)
                    self._pass(token, now)
            elif token.published is not None:
                age, still = now - token.published, now - self._progress.get(token.record.topic, 0.0)
                # While its topic moves on, a row is probably waiting its turn: then only after three times that.
                if age > patience and (still > patience or age > 3 * patience):
                    token.published = None
                    lost.append(token)
        if lost:
            log.warning("the broker lost %d records, or nobody takes them: publishing them again", len(lost))
            self._outgoing.extend(sorted(lost, key=lambda token: token.id))
            self._outgoing_any.set()

    # --- the ledger of the consumptions -------------------------------------------------------------------------

    async def accept(self, consumer: Consumer, records: Sequence[BrokerRecord]) -> Accepted:
        if self._clock.monotonic() > self._held.deadline:
            self._lose(range(SHARDS))
            return Accepted(())
        fencing.current.set(Fence(self._held.fences))
        by_uid, group = self._by_uid, consumer.group
        parked = self._parked.get((consumer.topic, group))
        accepted = []
        for record in records:
            token = by_uid.get(record.id)
            if token is None or (token.waiting is not None and group not in token.waiting):
                continue
            if parked and record.key in parked:
                self._park(token, group)
            else:
                accepted.append(record)
        return Accepted(accepted)

    def handled(self, consumer: Consumer, records: Sequence[BrokerRecord]) -> None:
        by_uid, group = self._by_uid, consumer.group
        for record in records:
            token = by_uid.get(record.id)
            if token is None:
                continue
            if token.waiting is not None:
                token.waiting.discard(group)
            if not token.waiting:
                self._finish(token)
            if record.attempt > 1:
                self._recovered((record.topic, record.key))
        if self._behind and len(by_uid) < self._settings.capacity // 2:
            self._scan_now.set()

    async def failed(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        log.warning("%s of %s failed, attempt %d: %s", consumer.group, record.topic, record.attempt, reason)
        self._failing.setdefault((record.topic, record.key), 1)
        token = self._by_uid.get(record.id)
        if token is not None:
            await self._database.change(rows.Failure(token.id, record.attempt, reason))

    async def bury(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        log.error("%s of %s buries a record after attempt %d: %s", consumer.group, record.topic, record.attempt, reason)
        await self._database.change(rows.Burial(consumer.group, record, reason, self._clock.wall_ms()))
        self.handled(consumer, [record])
        self._recovered((record.topic, record.key))

    async def park(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        log.error("%s of %s parks a key after attempt %d: %s", consumer.group, record.topic, record.attempt, reason)
        token = self._by_uid.get(record.id)
        if token is None:
            return
        self._parked.setdefault((record.topic, consumer.group), {})[record.key] = token.id
        self._fresh[record.topic, consumer.group, record.key] = False
        self._park(token, consumer.group, reason, record.attempt)
        self._recovered((record.topic, record.key))

    def _park(self, token: Token, group: str, reason: str | None = None, attempt: int = 0) -> None:
        if token.parked is None:
            token.parked = set()
        token.parked.add(group)
        head = self._parked[(token.record.topic, group)][token.record.key]
        self._parking.append(rows.Parking(token.id, head, group, reason, attempt))
        if token.waiting is not None:
            token.waiting.discard(group)
        if not token.waiting:
            self._finish(token)

    def _finish(self, token: Token) -> None:
        del self._by_uid[token.record.id]
        if token.parked is None:
            self._done.append(token.id)
        self._some_done.set()
        if not self._by_uid:
            self._empty.set()
        if len(self._done) >= 1_000:
            self._many_done.set()

    def _recovered(self, key: Key) -> None:
        """A failing key goes on; what was left in the table for its sake is read again."""
        if self._failing.pop(key, None) is not None and (key in self._skipped or key in self._catching):
            self.wake()

    def _unpark(self, heads: Mapping[tuple[str, str], Mapping[str, int]]) -> None:
        """Keys whose parked head is gone from the table, released or dropped, go on: once nothing of them is on its
        way any more, which would overtake the head."""
        for place, keys in self._parked.items():
            gone = [key for key in keys if key not in heads.get(place, {}) and (*place, key) not in self._fresh]
            if gone:
                busy = {token.record.key for token in self._by_uid.values() if token.record.topic == place[0]}
                for key in gone:
                    if key not in busy:
                        del keys[key]

    # --- handled rows -------------------------------------------------------------------------------------------

    async def _purging(self) -> None:
        while True:
            await self._some_done.wait()
            try:
                async with asyncio.timeout(self._settings.purge_interval):
                    await self._many_done.wait()
            except TimeoutError:
                pass
            self._some_done.clear()
            self._many_done.clear()
            await self._settle()

    async def _settle(self) -> None:
        done, self._done = self._done, []
        parking, self._parking = self._parking, []
        fresh = list(self._fresh)
        if not done and not parking:
            return
        try:
            await self._database.change_many(self._apply, rows.Settlement(rows.runs(done), tuple(parking)))
        except BaseException:
            self._done = done + self._done
            self._parking = parking + self._parking
            self._some_done.set()
            raise
        self._fresh.update((place, True) for place in fresh if place in self._fresh)
        self._gone += done
        self._gone += [each.id for each in parking]

    # --- leases -------------------------------------------------------------------------------------------------

    async def _renewing(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease / 3)
            await self._renew()

    async def _renew(self) -> None:
        releasing = [shard for shard in self._leaving if not self._is_busy(shard)]
        held, surplus = await self._leases.renew(releasing)
        before = self._held.fences
        self._lose([shard for shard, fence in before.items() if held.fences.get(shard) != fence])
        fences = {shard: fence for shard, fence in held.fences.items() if shard not in surplus}
        self._leaving = surplus
        self._held = attrs.evolve(held, fences=fences)
        if any(before.get(shard) != fence for shard, fence in fences.items()):
            self.wake()

    def _is_busy(self, shard: int) -> bool:
        return any(token.shard == shard for token in self._by_uid.values())

    def _lose(self, shards: Iterable[int]) -> None:
        """These shards may be somebody else's now: forget their rows; what is queued of them is not accepted."""
        lost = set(shards)
        if not lost:
            return
        kept = {shard: fence for shard, fence in self._held.fences.items() if shard not in lost}
        self._held = attrs.evolve(self._held, fences=kept)
        for uid, token in list(self._by_uid.items()):
            if token.shard in lost:
                del self._by_uid[uid]
                self._known.discard(token.id)
                self._pass(token, self._clock.monotonic())


def statistics(relay: SqlRelay) -> dict[str, Any]:
    """What is on its way now, for metrics."""
    return {"in_flight": len(relay._by_uid), "undeleted": len(relay._done), "parked_groups": len(relay._parked)}
