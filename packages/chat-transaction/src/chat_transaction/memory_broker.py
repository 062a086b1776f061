"""The in-process broker: what the embedded default runs on, and the model of what every other backend must do."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from zlib import crc32

import attrs
from chat_common.ports.broker import BrokerRecord, Handler, NotHandled

from chat_transaction.backoff import pause
from chat_transaction.settings import MemoryBrokerSettings

log = logging.getLogger(__name__)


class MemoryBroker:
    """`chat_common.ports.broker.Broker` inside one event loop. Its storage is this process: the outbox is what lasts.

    A group begins with its first subscription and keeps what is published while nobody is subscribed, up to
    ``capacity`` records; then `publish` waits. A topic without groups drops what it gets.
    """

    def __init__(self, settings: MemoryBrokerSettings | None = None) -> None:
        self._settings = settings or MemoryBrokerSettings()
        self._groups: dict[str, dict[str, _Group]] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[MemoryBroker]:
        try:
            yield self
        finally:
            for group in [group for groups in self._groups.values() for group in groups.values()]:
                await group.close()
            self._groups.clear()

    async def publish(self, records: Sequence[BrokerRecord], *, delay: float = 0.0) -> None:
        for topic in {record.topic for record in records}:
            for group in self._groups.get(topic, {}).values():
                await group.room()
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self.offer, list(records))
        else:
            self.offer(records)

    def offer(self, records: Sequence[BrokerRecord]) -> None:
        """`publish` without waiting, for a caller who bounds by himself what is on its way."""
        groups = self._groups
        for record in records:
            for group in groups.get(record.topic, {}).values():
                group.put(record)

    @asynccontextmanager
    async def subscribe(self, topic: str, group: str, handler: Handler, *, batch: int = 100) -> AsyncIterator[None]:
        found = self._groups.setdefault(topic, {}).get(group)
        if found is None:
            found = self._groups[topic][group] = _Group(self._settings)
        member = _Member(handler, batch)
        found.join(member)
        try:
            yield
        finally:
            await found.leave(member)

    async def ready(self) -> None:
        """Always is."""


class _Member:
    """One subscription."""

    __slots__ = ("batch", "handler", "idle", "running")

    def __init__(self, handler: Handler, batch: int) -> None:
        self.handler = handler
        self.batch = batch
        self.running = 0
        self.idle = asyncio.Event()
        self.idle.set()


class _Group:
    """A consumer group of a topic: its shards, each worked by one member at a time."""

    def __init__(self, settings: MemoryBrokerSettings) -> None:
        self.settings = settings
        self.members: list[_Member] = []
        self.size = 0
        self._room = asyncio.Event()
        self._room.set()
        self._shards = [_Shard(self, number) for number in range(settings.shards)]

    def put(self, record: BrokerRecord) -> None:
        self.grow(1)
        shards = self._shards
        shards[crc32(record.key.encode()) % len(shards)].put(record)

    def grow(self, by: int) -> None:
        self.size += by
        if self.size < self.settings.capacity:
            self._room.set()
        else:
            self._room.clear()

    async def room(self) -> None:
        await self._room.wait()

    def join(self, member: _Member) -> None:
        self.members.append(member)
        for shard in self._shards:
            shard.wake()

    async def leave(self, member: _Member) -> None:
        self.members.remove(member)
        await member.idle.wait()
        for shard in self._shards:
            shard.wake()

    async def close(self) -> None:
        for shard in self._shards:
            await shard.close()


class _Shard:
    """The records of some keys, in order, and the one task that works on them."""

    def __init__(self, group: _Group, number: int) -> None:
        self._group = group
        self._number = number
        self._queue: deque[BrokerRecord] = deque()
        self._held: dict[str, deque[BrokerRecord]] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def put(self, record: BrokerRecord) -> None:
        self._queue.append(record)
        if self._task is None or not self._work.is_set():
            self.wake()

    def wake(self) -> None:
        self._work.set()
        if self._task is None and self._queue:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            members = self._group.members
            if not self._queue or not members:
                self._work.clear()
                await self._work.wait()
                continue
            member = members[self._number % len(members)]
            batch = self._take(member.batch)
            if not batch:
                continue
            member.running += 1
            member.idle.clear()
            try:
                await self._deliver(member, batch)
            finally:
                member.running -= 1
                if not member.running:
                    member.idle.set()

    def _take(self, limit: int) -> list[BrokerRecord]:
        queue, held = self._queue, self._held
        if not held and len(queue) <= limit:
            batch = list(queue)
            queue.clear()
            return batch
        batch = []
        while queue and len(batch) < limit:
            record = queue.popleft()
            if record.key in held:
                held[record.key].append(record)
            else:
                batch.append(record)
        return batch

    async def _deliver(self, member: _Member, batch: list[BrokerRecord]) -> None:
        try:
            await member.handler(batch)
        except NotHandled as error:
            again = [attrs.evolve(record, attempt=record.attempt + 1) for record in error.failed]
            self._hold(again, error.later, error.retry_in)
            self._group.grow(len(error.failed) + len(error.later) - len(batch))
        except Exception:
            log.exception("a handler of %s failed", batch[0].topic)
            self._hold([attrs.evolve(record, attempt=record.attempt + 1) for record in batch], (), None)
        else:
            self._group.grow(-len(batch))

    def _hold(self, failed: Sequence[BrokerRecord], later: Iterable[BrokerRecord], retry_in: float | None) -> None:
        """Keep the keys of failed records back until it is time to try again."""
        settings = self._group.settings
        if not failed:
            return
        keys = dict.fromkeys(record.key for record in failed)
        for record in (*failed, *later):
            self._held.setdefault(record.key, deque()).append(record)
        if retry_in is None:
            retry_in = pause(max(record.attempt for record in failed) - 1, settings.retry_first, settings.retry_cap)
        self._timers = {timer for timer in self._timers if timer.when() > asyncio.get_running_loop().time()}
        self._timers.add(asyncio.get_running_loop().call_later(retry_in, self._release, tuple(keys)))

    def _release(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._queue.extendleft(reversed(self._held.pop(key, deque())))
        self.wake()
