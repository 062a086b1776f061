"""The in-process broker: what the embedded default runs on, and the model of what every other backend must do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from zlib import crc32

from chat_common.ports.broker import BrokerRecord, Handler, NotHandled, RecordsRefused

from chat_transaction.brokers.chunks import chunks
from chat_transaction.brokers.delivery import cancelled, outcome, persistently, retry_in
from chat_transaction.brokers.keyed_queue import KeyedQueue
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
        taken, refusals = chunks(records, lambda record: record.payload, self._settings.record_bytes)
        records = [record for chunk in taken for record, _ in chunk]
        for topic in {record.topic for record in records}:
            for group in self._groups.get(topic, {}).values():
                await group.room()
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self.offer, records)
        else:
            self.offer(records)
        if refusals:
            raise RecordsRefused(refusals)

    def offer(self, records: Sequence[BrokerRecord]) -> None:
        """`publish` without waiting, for a caller who bounds by himself what is on its way."""
        groups = self._groups
        for record in records:
            for group in groups.get(record.topic, {}).values():
                group.put(record)

    def provision(self, topics: Iterable[str], groups: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """Nothing: topics and groups begin with their use."""
        return {}

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
        """Let the member's running batches end; those that take too long are cancelled, and go to another one."""
        self.members.remove(member)
        try:
            async with asyncio.timeout(self.settings.leave_timeout):
                await member.idle.wait()
        except TimeoutError:
            log.warning("a handler has not ended after %g s: it is cancelled", self.settings.leave_timeout)
            await self._cancel(shard for shard in self._shards if shard.member is member)
        for shard in self._shards:
            shard.wake()

    async def close(self) -> None:
        await self._cancel(self._shards)

    async def _cancel(self, shards: Iterable[_Shard]) -> None:
        found = {shard: shard.task for shard in shards if shard.task is not None}
        await cancelled(found.values(), "a worker of the in-process broker")
        for shard, task in found.items():
            # A handler that does not listen keeps its shard: nothing of its keys may overtake it.
            if task.done():
                shard.task = None


class _Shard:
    """The records of some keys, and the one task that works on them."""

    def __init__(self, group: _Group, number: int) -> None:
        self._group = group
        self._number = number
        self._queue = KeyedQueue()
        self._work = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.member: _Member | None = None

    def put(self, record: BrokerRecord) -> None:
        self._queue.put(record)
        if self.task is None or not self._work.is_set():
            self.wake()

    def wake(self) -> None:
        self._work.set()
        if self.task is None and len(self._queue):
            name = f"worker {self._number} of a group of the in-process broker"
            self.task = asyncio.get_running_loop().create_task(persistently(self._run, name), name=name)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            members = self._group.members
            member = members[self._number % len(members)] if members else None
            batch = self._queue.take(member.batch, loop.time()) if member is not None else []
            if member is None or not batch:
                timer = None if member is None else self._queue.next_time()
                self._work.clear()
                try:
                    async with asyncio.timeout_at(timer):
                        await self._work.wait()
                except TimeoutError:
                    pass
                continue
            member.running += 1
            member.idle.clear()
            self.member = member
            try:
                await self._deliver(member, batch)
            except BaseException:
                self._hold(NotHandled(batch, retry_in=0))
                self._group.grow(-len(batch))
                raise
            finally:
                self.member = None
                member.running -= 1
                if not member.running:
                    member.idle.set()

    async def _deliver(self, member: _Member, batch: list[BrokerRecord]) -> None:
        error = await outcome(member.handler, batch)
        if error is not None:
            self._hold(error)
        self._group.grow(-len(batch))

    def _hold(self, error: NotHandled) -> None:
        settings = self._group.settings
        until = asyncio.get_running_loop().time() + retry_in(error, settings.retry_first, settings.retry_cap)
        self._queue.hold(error.failed, error.later, until)
        self._group.grow(len(error.failed) + len(error.later))
