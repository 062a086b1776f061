"""The relay: from committed rows to consumers, and back to deleted rows."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import attrs
from chat_common.clock import Clock
from chat_common.ports.broker import Broker, BrokerRecord
from chat_common.ports.database import Database
from chat_common.ports.outbox import ENSURED_TOPIC
from chat_common.records import Consumer, Ensured

from chat_transaction.brokers.memory import MemoryBroker
from chat_transaction.consumers import inbox
from chat_transaction.consumers.consumption import Consumption
from chat_transaction.consumers.ensured import EnsuredCalls
from chat_transaction.relay.alarm import Alarm
from chat_transaction.relay.confirmations import Confirmations
from chat_transaction.relay.ledger import OwnersLedger
from chat_transaction.relay.publishing import Publishing
from chat_transaction.relay.settlements import Settlements, standing
from chat_transaction.settings import RelaySettings
from chat_transaction.sql import queries, registry, settling
from chat_transaction.sql.fencing import Fence
from chat_transaction.sql.leases import Held, Leases, plant
from chat_transaction.sql.outbox import Parking, SqlOutbox, Token
from chat_transaction.sql.registry import Abilities, Registered
from chat_transaction.sql.tables import SHARDS

log = logging.getLogger(__name__)

_EARLY = 0.005
"""Seconds to wait for the report of a row that is missing between two reported ones, before looking it up."""
_KEY_LIMIT = 200
"""Rows of one failing key that may be on their way; the others wait in the table, so that it cannot fill it all."""
_SEEN = 300.0
"""Seconds between two notes that this relay's groups are run."""

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
        self._leased: Mapping[int, int] = {}
        self._leaving: frozenset[int] = frozenset()
        self._abilities = Abilities()
        self._parks: frozenset[tuple[str, str]] = frozenset()
        self._registered: Registered = {}
        self._running: Registered = {}
        self._plain: frozenset[str] = frozenset()
        self._reviving: set[str] = set()
        self._seen_at = -math.inf
        self._stock = asyncio.Lock()
        self._some_revive = asyncio.Event()
        self._width = 0
        self._behind = self._full = True
        self._head = 0
        self._floor = 0
        self._full_at = 0.0
        self._early: dict[int, Token] = {}
        self._gap: asyncio.TimerHandle | None = None
        self._known: set[int] = set()
        self._gone: list[int] = []
        now = lambda: (self._registered, self._held.fences)  # noqa: E731
        self._settlements = Settlements(database, self._settings.purge_interval, now)
        self._by_uid: dict[str, Token] = {}
        self._count: Counter[str] = Counter()
        self._full_topics: set[str] = set()
        self._late: set[str] = set()
        self._missed: set[str] = set()
        self._ledger = OwnersLedger(
            database, clock, self._settlements, self._by_uid, self._fence, self._finish, self._recovered
        )
        self._failing = self._ledger.failing
        self._skipped: set[Key] = set()
        self._catching: set[Key] = set()
        self._releasing: set[Key] = set()
        # In this process a row's way ends here; behind a broker it ends with a confirmation. Ensured functions need
        # no broker: they are run by the owner of their shard.
        self._local = broker if isinstance(broker, MemoryBroker) else MemoryBroker()
        self._publishing = Publishing(broker, clock, self._is_alive, self._refused)
        self._confirmations = Confirmations(database, clock, self._confirmed, lambda topic: topic not in self._plain)
        self._alarm = Alarm(clock, self.wake)
        self._consumptions: dict[tuple[str, str], Consumption] = {}
        self._scan_now = asyncio.Event()
        self._empty = asyncio.Event()

    # --- life ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self, consumers: Sequence[Consumer], ensured: Sequence[Ensured]) -> AsyncIterator[None]:
        every = [*consumers, EnsuredCalls(ensured).consumer()]
        ((topic, group), count), *_ = Counter((each.topic, each.group) for each in every).most_common(1)
        if count > 1:
            raise ValueError(f"two consumers of topic {topic!r} share the group {group!r}")
        if wrong := next((each.group for each in every if "," in each.group or not each.group), None):
            raise ValueError(f"a group is named {wrong!r}; names have no comma in them")
        self._abilities = Abilities.of(every, ensured, broker=self._local is not self._broker)
        self._parks = frozenset((each.topic, each.group) for each in every if each.on_failure == "park")
        await self._database.change(plant)
        await self._renew()
        async with AsyncExitStack() as stack:
            if self._local is not self._broker:
                await stack.enter_async_context(self._local.opened())
                await stack.enter_async_context(self._confirmations.opened())
                await stack.enter_async_context(self._publishing.opened())
            for consumer in every:
                broker = self._local if self._is_local(consumer.topic) else self._broker
                ledger = self._ledger if self._is_local(consumer.topic) else self._confirmations
                run = Consumption(
                    consumer, ledger, retry_first=self._settings.retry_first, retry_cap=self._settings.retry_cap
                )
                self._consumptions[consumer.topic, consumer.group] = run
                await stack.enter_async_context(
                    broker.subscribe(consumer.topic, consumer.group, run, batch=consumer.batch)
                )
            loops = [self._scanning, self._settlements.writing, self._renewing, self._revive, self._forget]
            tasks = [asyncio.create_task(self._persist(loop), name=f"outbox {loop.__name__}") for loop in loops]
            self._outbox.attach(self)
            try:
                yield
            finally:
                self._outbox.attach(None)
                await self._drain()
                self._alarm.off()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        # What some groups have handled is theirs only once, even if the others get it after the next start.
        for token in self._by_uid.values():
            if token.handled or token.kept:
                self._settlements.keep(standing(token))
        await self._settlements.write()
        await self._leases.give_back()

    def outcomes(self) -> Mapping[tuple[str, str, str], int]:
        return {
            (*place, outcome): count
            for place, run in self._consumptions.items()
            for outcome, count in run.outcomes.items()
        }

    def on_their_way(self) -> Mapping[str, int]:
        return self._count

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

    def _widen(self) -> None:
        """More shards or topics than before: nothing reported is handed over before a scan of them all."""
        self._width += 1
        self._behind = True
        self.wake()

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
            with suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await self._scan_now.wait()
            self._full = self._full or self._clock.monotonic() - self._full_at >= settings.scan_interval * 0.9
            self._scan_now.clear()
            idle = 0 if await self._scan() else idle + 1

    async def _scan(self) -> int:
        """Look into the table once; how many rows were new."""
        if self._full_topics:
            await self._look_after_full()
        # Deleted rows are forgotten only now: a scan that began before their deletion may still have seen them.
        self._known.difference_update(self._settlements.take_settled(), self._gone)
        self._gone.clear()
        self._ledger.age()
        full, self._full = self._full, False
        width = self._width
        if full:
            self._full_at = self._clock.monotonic()
        head = self._head
        # A key that is skipped again while this scan runs has rows that its snapshot may lack.
        self._catching, self._skipped = self._catching | self._skipped, set()
        excluded = {key for key in self._catching if self._failing.get(key, 0) >= _KEY_LIMIT}
        topics = self._running.keys() - self._full_topics - self._reviving
        if not full:
            topics -= self._late
            excluded |= self._releasing
        caught = self._late & topics
        self._missed -= caught
        query = queries.Scan(
            now=self._clock.wall_ms(),
            floor=0 if full else self._floor,
            limit=self._settings.scan_limit,
            known=self._known,
            topics=tuple(sorted(topics)),
            shared=frozenset(topics - self._plain),
            excluded=tuple(excluded)[:500],
            shards=None if len(self._held.fences) == SHARDS else tuple(self._held.fences),
            heads=full and any(self._ledger.parked.values()),
        )
        watched = [] if self._local is self._broker or not full else self._sent(topics)
        found = await self._database.read(query)
        if width != self._width:
            return 0  # There is more to look at by now: `_widen` has asked for the next scan.
        if found.complete and watched:
            self._look_after(watched, found.present)
        if found.heads is not None:
            self._releasing = self._ledger.unpark(found.heads)
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
                self._catching = excluded | self._releasing
                if self._skipped - self._catching:
                    self.wake()
        else:
            self._behind = True
            self._full = self._full or full
            self._scan_now.set()
        if found.next_due is not None:
            self._alarm.at(found.next_due)
        self._hand_over(tokens, scanned=True)
        if not self._behind and full:
            self._late -= caught - self._missed
            if self._late & self._missed - self._full_topics - self._reviving:
                self.wake()
        if not self._behind and self._early:
            late = [self._early.pop(id) for id in sorted(self._early)]
            self.committed([token for token in late if token.id > self._head])
        return len(tokens)

    # --- hand over ----------------------------------------------------------------------------------------------

    def _hand_over(self, tokens: Iterable[Token], *, scanned: bool = False) -> None:
        fences = self._held.fences
        records: list[BrokerRecord] = []
        outgoing: list[Token] = []
        for token in tokens:
            record = token.record
            topic = record.topic
            if topic not in self._running or token.shard not in fences or token.id in self._known:
                continue
            if token.due_at and not scanned:
                self._alarm.at(token.due_at)
                continue
            if self._must_wait(topic, scanned):
                continue
            if self._failing or self._skipped or self._catching or self._releasing:
                key = (topic, record.key)
                count = self._failing.get(key)
                is_late = key in self._skipped or key in self._catching
                if (is_late and not scanned) or key in self._releasing or (count is not None and count >= _KEY_LIMIT):
                    self._skipped.add(key)
                    continue
                if count is not None:
                    self._failing[key] = count + 1
            self._known.add(token.id)
            if (topic not in self._plain or token.only is not None) and not self._divide(token):
                continue
            record = token.record
            self._by_uid[record.id] = token
            self._count[topic] += 1
            if self._is_local(topic):
                records.append(record)
            else:
                outgoing.append(token)
        if records:
            self._local.offer(records)
        if outgoing:
            self._publishing.put(outgoing)

    def _must_wait(self, topic: str, scanned: bool) -> bool:
        """Whether this row must stay in the table for now, because its topic has no room, or because rows before it
        were left there. Then a full scan reads them in order."""
        if self._count[topic] >= self._settings.capacity:
            self._full_topics.add(topic)
        elif topic not in self._late or (scanned and topic not in self._full_topics and topic not in self._reviving):
            return False
        self._late.add(topic)
        self._missed.add(topic)
        return True

    def _divide(self, token: Token) -> bool:
        """Where the groups of a row stand: who gets it now, and for whom it stays. False: nobody gets it now."""
        topic = token.record.topic
        wanted = (token.only or self._registered[topic]) - (token.settled or frozenset())
        running = wanted & self._running[topic]
        token.waiting, token.handled = set(running), set()
        if token.attempts and running:
            attempt = 1 + min(token.attempts.get(group, 0) for group in running)
            token.record = attrs.evolve(token.record, attempt=attempt)
        if wanted - running:
            token.kept = dict.fromkeys(wanted - running)
            if running and not self._is_local(topic):
                self._settlements.keep(settling.Kept(token.id, token.shard, kept=token.kept))
        if not running:
            self._settlements.keep(settling.Kept(token.id, token.shard, kept=token.kept or {}), over=True)
        return bool(running)

    def _remove(self, uid: str) -> Token | None:
        """It is no longer on its way."""
        if (token := self._by_uid.pop(uid, None)) is None:
            return None
        topic = token.record.topic
        self._count[topic] -= 1
        if topic in self._full_topics and self._count[topic] <= self._settings.capacity // 2:
            self._full_topics.discard(topic)
            self.wake()
        if topic in self._reviving and not self._count[topic]:
            self._some_revive.set()
        if not self._by_uid:
            self._empty.set()
        return token

    def _sent(self, topics: Collection[str]) -> list[Token]:
        """Those of these topics that a broker has."""
        topics = {topic for topic in topics if not self._is_local(topic)}
        return [token for token in self._by_uid.values() if token.record.topic in topics]

    # --- through a broker ---------------------------------------------------------------------------------------

    def _is_alive(self, token: Token) -> bool:
        return self._by_uid.get(token.record.id) is token

    async def _refused(self, token: Token, reason: str) -> None:
        """The broker will never take it: every group that waits for it gives it up."""
        log.error("a record of %s cannot be published: %s", token.record.topic, reason)
        kept: dict[str, Parking | None] = {}
        groups = token.waiting or self._registered.get(token.record.topic, frozenset())
        for group in sorted(groups):
            if (token.record.topic, group) in self._parks:
                kept[group] = Parking(token.id, reason, token.record.attempt)
            else:
                burial = settling.Burial(group, token.record, reason, self._clock.wall_ms())
                await self._database.change(burial)
        if self._remove(token.record.id) is not None:
            self._publishing.passed(token)
        self._settlements.keep(settling.Kept(token.id, token.shard, frozenset(groups - kept.keys()), kept), over=True)
        await self._settlements.write()

    def _confirmed(self, uids: Iterable[str]) -> None:
        """These rows were handled and are deleted."""
        for uid in uids:
            token = self._remove(uid)
            if token is not None:
                self._gone.append(token.id)
                self._publishing.passed(token)

    async def _look_after_full(self) -> None:
        """Topics with no room: are any rows on their way handled elsewhere, or lost by the broker?

        Without this a broker that loses as many rows as may be on their way would stop the topic for good.
        """
        if self._clock.monotonic() - self._full_at < self._settings.scan_interval * 0.9:
            return
        if watched := self._sent(self._full_topics):
            self._full_at = self._clock.monotonic()
            self._look_after(watched, await self._database.read(queries.Present(tuple(token.id for token in watched))))

    def _look_after(self, known: Iterable[Token], present: Collection[int]) -> None:
        """After a full scan: forget what is handled elsewhere; publish again what a broker seems to have lost."""
        here: list[Token] = []
        for token in known:
            if token.id in present:
                here.append(token)
            elif self._is_alive(token):
                self._drop(token.record.id)
        self._publishing.look_after(here, self._settings.republish_after)

    # --- the ends of ways ---------------------------------------------------------------------------------------

    def _fence(self) -> Fence | None:
        """Under which this process may run records now; None: it has slept too long to know."""
        if self._clock.monotonic() > self._held.deadline:
            self._lose(range(SHARDS))
            return None
        return Fence(self._held.fences)

    def _finish(self, token: Token) -> None:
        self._remove(token.record.id)
        self._settlements.finish(token)

    async def _forget(self) -> None:
        await inbox.forgetting(self._database, self._clock, self._settings.inbox_keep, lambda: 0 in self._held.fences)

    def _recovered(self, key: Key) -> None:
        """A failing key goes on; what was left in the table for its sake is read again."""
        if key in self._skipped or key in self._catching:
            self.wake()

    # --- leases -------------------------------------------------------------------------------------------------

    async def _renewing(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease / 3)
            await self._renew()

    async def _renew(self) -> None:
        async with self._stock:
            releasing = [shard for shard in self._leaving if not self._is_busy(shard)]
            if releasing:
                await self._settlements.write()
            held, surplus = await self._leases.renew(self._abilities, releasing)
            before, self._leased = self._leased, held.fences
            self._lose([shard for shard, fence in before.items() if held.fences.get(shard) != fence])
            fences = {shard: fence for shard, fence in held.fences.items() if shard not in surplus}
            await self._take_stock(held, tuple(fences))
            gained = any(self._held.fences.get(shard) != fence for shard, fence in fences.items())
            if gained:
                self._ledger.learn(await self._database.read(queries.parked_heads))
            self._leaving = surplus
            self._held = attrs.evolve(held, fences=fences)
            if gained:
                self._widen()

    # --- groups -------------------------------------------------------------------------------------------------

    async def _take_stock(self, held: Held, shards: tuple[int, ...]) -> None:
        """Which groups there are, who is run by somebody, and which rows have waited for one that is run again."""
        now = self._clock.monotonic()
        if now - self._seen_at >= _SEEN:
            wall, patience = self._clock.wall_ms(), round(self._settings.group_patience * 1000)
            stock = partial(settling.take_stock, seen=self._abilities.groups, now=wall, since=wall - patience)
            for topic, group in await self._database.change(stock):
                log.warning("nobody has run group %s of topic %s for long: nothing waits for it any more", group, topic)
            self._seen_at = now
        registered, absent = await self._database.read(
            lambda connection: (registry.read(connection), queries.absent(connection, shards))
        )
        everybody = frozenset[tuple[str, str]]().union(*(each.groups for each in held.live.values()))
        running: dict[str, frozenset[str]] = {}
        for topic, groups in registered.items():
            who = self._abilities.groups if self._is_local(topic) else everybody
            if here := frozenset(group for group in groups if (topic, group) in who):
                running[topic] = here
        self._adopt(registered, running)
        back = {topic for topic, group in absent if group in running.get(topic, ())}
        if back:
            self._reviving |= back
            self._late |= back
            self._some_revive.set()

    def _adopt(self, registered: Registered, running: Registered) -> None:
        """From now on these groups count. What is on its way stays for those who have joined or gone meanwhile."""
        if registered == self._registered and running == self._running:
            return
        self._settlements.collect()
        for token in self._by_uid.values():
            topic = token.record.topic
            before, now = self._registered.get(topic, frozenset()), registered.get(topic, frozenset())
            here = running.get(topic, frozenset())
            new = now - before if token.only is None else frozenset()
            gone = (self._running.get(topic, frozenset()) - here) & (token.waiting or before)
            if not new and not gone:
                continue
            if token.waiting is None:
                token.waiting, token.handled = set(before), set()
            token.kept = (token.kept or {}) | dict.fromkeys(new | gone)
            if not self._is_local(topic):
                self._settlements.keep(settling.Kept(token.id, token.shard, kept=dict.fromkeys(new | gone)))
        if not running.keys() <= self._running.keys():
            self._widen()
        self._registered, self._running = registered, running
        self._plain = frozenset(topic for topic, here in running.items() if len(registered[topic]) == 1)

    async def _revive(self) -> None:
        """Rows that stayed for an absent group go on, once nothing of their topic is on its way, which would overtake
        them. A key that fails meanwhile is not waited for, and no broker is: all that is read again, in order."""
        while True:
            await self._some_revive.wait()
            self._some_revive.clear()
            async with self._stock:
                for uid, token in list(self._by_uid.items()):
                    topic = token.record.topic
                    known = self._is_local(topic) and (topic, token.record.key) not in self._failing
                    if topic in self._reviving and not known:
                        self._drop(uid)
                topics = {topic for topic in self._reviving if not self._count[topic]}
                if topics:
                    await self._settlements.write()
                    shards, running = tuple(self._held.fences), self._running
                    await self._database.change(partial(settling.revive, topics=topics, groups=running, shards=shards))
                    self._reviving -= topics
                    self.wake()

    def _is_busy(self, shard: int) -> bool:
        return any(token.shard == shard for token in self._by_uid.values())

    def _lose(self, shards: Iterable[int]) -> None:
        """These shards may be somebody else's now: forget their rows; what is queued of them is not accepted."""
        if not (lost := set(shards)):
            return
        self._settlements.collect()  # under the fences that it was done under
        kept = {shard: fence for shard, fence in self._held.fences.items() if shard not in lost}
        self._held = attrs.evolve(self._held, fences=kept)
        for uid, token in list(self._by_uid.items()):
            if token.shard in lost:
                self._drop(uid)

    def _drop(self, uid: str) -> None:
        """Forget one that is on its way: it is in the table; what is queued of it is not accepted."""
        token = self._remove(uid)
        if token is not None:
            self._known.discard(token.id)
            self._publishing.passed(token)
