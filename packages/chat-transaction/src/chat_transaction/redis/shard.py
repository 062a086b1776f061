"""A shard of a topic on Redis while one member of a group owns it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from attrs import define
from chat_common.decoding import prepare
from chat_common.ports.broker import BrokerRecord, Handler
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from chat_transaction.brokers.delivery import outcome, retry_in
from chat_transaction.brokers.keyed_queue import KeyedQueue
from chat_transaction.redis import broker_scripts
from chat_transaction.settings import RedisBrokerSettings

log = logging.getLogger(__name__)


class Entry(msgspec.Struct, array_like=True):
    """A record as it stands in a stream."""

    key: str
    id: str
    payload: bytes
    headers: dict[str, str]


prepare(Entry)


@define
class Member:
    """One member of a group, as the shards that it owns know it. ``deadline`` is when its leases end for sure, on the
    loop's clock: each renewal moves it. ``create_groups`` begins anew where Redis came back empty."""

    client: Redis
    settings: RedisBrokerSettings
    topic: str
    group: str
    name: str
    batch: int
    handler: Handler
    create_groups: Callable[[], Awaitable[None]]
    deadline: float = 0.0


class OwnedShard:
    """A shard while this member owns it: reads, handles, acknowledges."""

    def __init__(self, member: Member, stream: str) -> None:
        self._of = member
        self._client = member.client
        self._stream = stream
        self._trim = self._client.register_script(broker_scripts.TRIM)
        self._queue = KeyedQueue()
        self._entries: dict[str, tuple[bytes, ...]] = {}
        self._foreign: list[bytes] = []
        self._acknowledged = 0
        self._leaving = False
        self._reading: asyncio.Task[Any] | None = None
        self.task = asyncio.create_task(self._run(), name=f"redis {self._stream} {member.group}")

    def leave(self) -> None:
        """End after the running batch; what is not handled stays pending for the next owner."""
        self._leaving = True
        if self._reading is not None:
            self._reading.cancel()

    def lose(self) -> None:
        """The lease went to somebody else."""
        self._leaving = True
        self._queue = KeyedQueue()
        self.leave()

    async def _run(self) -> None:
        claimed = False
        while not self._leaving:
            try:
                if not claimed:
                    await self._claim()
                    claimed = True
                if not await self._step():
                    return
            except ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                # Redis came back empty: begin again. What was lost with it is published again by the outbox.
                self._queue, self._entries = KeyedQueue(), {}
                await self._of.create_groups()
            except (RedisError, OSError) as error:
                log.warning("Redis does not answer for %s: %s", self._stream, error)
                self._queue, self._entries, claimed = KeyedQueue(), {}, False
                await asyncio.sleep(0.2)

    async def _step(self) -> bool:
        """Read a little, handle a batch; False when the shard is not ours any more."""
        loop, of = asyncio.get_running_loop(), self._of
        if self._foreign:
            await self._client.xack(self._stream, of.group, *self._foreign)
            self._foreign.clear()
        batch = self._queue.take(of.batch, loop.time())
        if not batch:
            if self._acknowledged:
                await self._trim_stream()
            if loop.time() > of.deadline:
                return False  # What is read now would hang between this owner and the next one.
            await self._read(self._block(loop.time()))
            batch = self._queue.take(of.batch, loop.time())
        if not batch:
            return True
        if self._leaving or loop.time() > of.deadline:
            return False
        error = await outcome(of.handler, batch)
        left = set()
        if error is not None:
            until = loop.time() + retry_in(error, of.settings.retry_first, of.settings.retry_cap)
            self._queue.hold(error.failed, error.later, until)
            left = {record.id for record in (*error.failed, *error.later)}
        entries = [entry for record in batch if record.id not in left for entry in self._entries.pop(record.id, ())]
        if entries:
            await self._client.xack(self._stream, of.group, *entries)
            self._acknowledged += len(entries)
            if self._acknowledged * 4 >= of.settings.capacity or self._acknowledged >= 1_000:
                await self._trim_stream()
        return True

    def _block(self, now: float) -> int:
        """Milliseconds to wait for something new: until a held key is due or the lease ends, a second at most."""
        due = min(self._of.deadline, self._queue.next_time() or self._of.deadline)
        return max(1, min(1_000, round((due - now) * 1000)))

    async def _read(self, block: int) -> None:
        if len(self._queue) > 10 * self._of.batch:
            # So many are held back behind failures that no more are fetched; they stay in the stream.
            await asyncio.sleep(block / 1000)
            return
        self._reading = asyncio.create_task(self._fetch(block))
        try:
            found = await self._reading
        except asyncio.CancelledError:
            if not self._leaving:
                raise
            return
        finally:
            self._reading = None
        for _, entries in _streams(found):
            for entry, fields in entries:
                self._put(entry, fields, 1)

    async def _fetch(self, block: int) -> Any:
        of = self._of
        return await self._client.xreadgroup(of.group, of.name, {self._stream: ">"}, count=of.batch, block=block)

    async def _claim(self) -> None:
        """Take over what an earlier owner was given and did not acknowledge, before anything new."""
        start: Any = "0-0"
        while True:
            start, entries, *_ = await self._client.xautoclaim(
                self._stream, self._of.group, self._of.name, min_idle_time=0, start_id=start, count=500
            )
            if entries:
                first, last = entries[0][0], entries[-1][0]
                pending = await self._client.xpending_range(
                    self._stream, self._of.group, min=first, max=last, count=1_000
                )
                attempts = {each["message_id"]: int(each["times_delivered"]) for each in pending}
                for entry, fields in entries:
                    if fields is not None:
                        self._put(entry, fields, attempts.get(entry, 2))
            if start in (b"0-0", "0-0"):
                return

    def _put(self, entry: bytes, fields: dict[bytes, bytes], attempt: int) -> None:
        try:
            read = msgspec.msgpack.decode(fields[b"r"], type=Entry)
        except (msgspec.MsgspecError, KeyError) as error:
            # Nobody of us wrote it; it is acknowledged, so that it stops nobody.
            log.error("an entry of %s is no record and is passed over: %s", self._stream, error)
            self._foreign.append(entry)
            return
        if read.id in self._entries:
            self._entries[read.id] = (*self._entries[read.id], entry)
            return
        self._entries[read.id] = (entry,)
        self._queue.put(BrokerRecord(self._of.topic, read.key, read.payload, read.id, attempt, read.headers))

    async def _trim_stream(self) -> None:
        self._acknowledged = 0
        await self._trim(keys=[self._stream])


def _streams(found: Any) -> Iterable[tuple[bytes, Any]]:
    """The answer of XREADGROUP, as RESP2 lists or as a RESP3 map."""
    return found.items() if isinstance(found, dict) else found or ()
