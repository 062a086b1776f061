"""The broker on Redis Streams: a stream per shard, read by the shard's owner."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from zlib import crc32

import msgspec
from chat_common.errors import Unavailable
from chat_common.ports.broker import BrokerRecord, Handler, Refusal, Refused
from chat_common.settings import SetupError
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from chat_transaction.brokers import redis_scripts
from chat_transaction.brokers.chunks import chunks
from chat_transaction.brokers.delivery import cancelled, ended, outcome, persistently, retry_in
from chat_transaction.brokers.keyed_queue import KeyedQueue
from chat_transaction.settings import RedisBrokerSettings

log = logging.getLogger(__name__)


class _Entry(msgspec.Struct, array_like=True):
    """A record as it stands in a stream."""

    key: str
    id: str
    payload: bytes
    headers: dict[str, str]


class RedisBroker:
    """`chat_common.ports.broker.Broker` on Redis 7 or Valkey, one server (not Redis Cluster).

    Each topic is ``shards`` streams. In each group a shard has one owner at a time, by a lease in Redis; the owner
    alone reads it. What a vanished owner had not acknowledged is claimed when its shard is taken over, before anything
    new. A stream is trimmed up to what every group has handled. Redis must not evict: `opened` refuses to go on where
    it would (`SetupError`), and `ready` fails when that has changed.
    """

    def __init__(self, settings: RedisBrokerSettings | None = None) -> None:
        self.settings = settings or RedisBrokerSettings()
        pool = BlockingConnectionPool.from_url(
            self.settings.url,
            max_connections=self.settings.connections,
            timeout=5,
            socket_connect_timeout=2,
            socket_timeout=10,
            health_check_interval=15,
        )
        self.client: Redis = Redis(connection_pool=pool)
        script = self.client.register_script
        self._publish, self._delay = script(redis_scripts.PUBLISH), script(redis_scripts.DELAY)
        self._locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RedisBroker]:
        try:
            try:
                await self._check_policy()
            except (RedisError, OSError) as error:
                log.warning("Redis does not answer yet, so its maxmemory-policy is unknown: %s", error)
            yield self
        finally:
            await self.client.aclose()
            await self.client.connection_pool.disconnect()

    async def ready(self) -> None:
        try:
            wrong = await self._wrong_policy()
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis does not answer: {error}") from error
        if wrong is not None:
            raise Unavailable(wrong)

    async def _check_policy(self) -> None:
        if (wrong := await self._wrong_policy()) is not None:
            raise SetupError(wrong)

    async def _wrong_policy(self) -> str | None:
        """What is wrong when Redis may throw away what it was given."""
        memory = await self.client.info("memory")
        policy = memory.get("maxmemory_policy", "noeviction")
        if not int(memory.get("maxmemory", 0)) or policy == "noeviction":
            return None
        return f"Redis has maxmemory-policy {policy}; the broker needs noeviction, or records get lost"

    def stream(self, topic: str, shard: int) -> str:
        return f"{self.settings.prefix}:{topic}:{shard}"

    def streams(self, topic: str) -> list[str]:
        return [self.stream(topic, shard) for shard in range(self.settings.shards)]

    def shard_of(self, key: str) -> int:
        return crc32(key.encode()) % self.settings.shards

    def delayed(self, topic: str) -> list[str]:
        return [f"{self.settings.prefix}:{topic}:delayed", f"{self.settings.prefix}:{topic}:delayed-data"]

    async def publish(self, records: Sequence[BrokerRecord], *, delay: float = 0.0) -> None:
        parts: dict[tuple[str, int], list[BrokerRecord]] = {}
        for record in records:
            parts.setdefault((record.topic, self.shard_of(record.key)), []).append(record)
        refusals: list[Refusal] = []
        for (topic, shard), part in parts.items():
            sized, large = chunks(part, _encode, self.settings.record_bytes)
            refusals += large
            try:
                for portion in sized:
                    if delay > 0:
                        pairs = [item for each, data in portion for item in (f"{shard}:{each.id}", data)]
                        await self._delay(keys=self.delayed(topic), args=[round(delay * 1000), *pairs])
                    else:
                        await self._append(self.stream(topic, shard), [data for _, data in portion])
            except (RedisError, OSError) as error:
                if not isinstance(error, NoPermissionError) and not str(error).startswith("WRONGTYPE"):
                    raise Unavailable(f"Redis does not take records: {error}") from error
                # Something else has the name of the topic, or this user may not write to it.
                reason = f"Redis says {error}"
                refusals += [Refusal(each, reason, "topic") for portion in sized for each, _ in portion]
        if refusals:
            raise Refused(refusals)

    async def _append(self, stream: str, encoded: Sequence[bytes]) -> None:
        # One publisher at a time: one that waits for room is not overtaken by a later one.
        async with self._locks.setdefault(stream, asyncio.Lock()):
            wait = 0.005
            while not await self._publish(keys=[stream], args=[self.settings.capacity, *encoded]):
                await asyncio.sleep(wait)
                wait = min(wait * 2, 0.2)

    def provision(self, topics: Iterable[str], groups: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """Nothing: topics and groups begin with their use."""
        return {}

    @asynccontextmanager
    async def subscribe(self, topic: str, group: str, handler: Handler, *, batch: int = 100) -> AsyncIterator[None]:
        subscription = _Subscription(self, topic, group, handler, batch)
        try:
            # Again, for it may have been away when the broker was opened.
            await self._check_policy()
            await subscription.create_groups()
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis does not answer: {error}") from error
        task = asyncio.create_task(subscription.run(), name=subscription.name)
        try:
            yield
        finally:
            subscription.stop()
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                await cancelled([task], subscription.name)
                raise


class _Subscription:
    """One member of a group: which shards it owns, and a task for each."""

    def __init__(self, broker: RedisBroker, topic: str, group: str, handler: Handler, batch: int) -> None:
        self.broker = broker
        self.client = broker.client
        self.topic = topic
        self.group = group
        self.handler = handler
        self.batch = batch
        self.member = secrets.token_hex(8)
        self.name = f"group {group} of topic {topic} on Redis"
        self.settings = broker.settings
        self.deadline = 0.0
        prefix = f"{self.settings.prefix}:{topic}:{group}"
        self._members = f"{prefix}:members"
        self._leases = [f"{prefix}:lease:{shard}" for shard in range(self.settings.shards)]
        script = self.client.register_script
        self._balance, self._release = script(redis_scripts.BALANCE), script(redis_scripts.RELEASE)
        self._forget = script(redis_scripts.FORGET)
        self._release_delayed = script(redis_scripts.RELEASE_DELAYED)
        self._stopping = asyncio.Event()
        self._owned: dict[int, _Owned] = {}

    def stop(self) -> None:
        self._stopping.set()
        for owned in self._owned.values():
            owned.leave()

    async def create_groups(self) -> None:
        for stream in self.broker.streams(self.topic):
            try:
                await self.client.xgroup_create(stream, self.group, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def run(self) -> None:
        delays = asyncio.create_task(persistently(self._move_delayed, f"what moves delayed records of {self.topic}"))
        try:
            await persistently(self._keep_shards, self.name)
            await ended([owned.task for owned in self._owned.values()], self.settings.leave_timeout, self.name)
            await self._goodbye()
        finally:
            await cancelled([delays, *(owned.task for owned in self._owned.values())], self.name)

    async def _keep_shards(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._rebalance()
            except (RedisError, OSError) as error:
                log.warning("Redis does not answer to %s of %s: %s", self.group, self.topic, error)
            await self._pause(self.settings.lease / 3)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    async def _rebalance(self) -> None:
        """Renew what is held, take what is free, give back what others lack."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        life = round(self.settings.lease * 1000)
        members, *held = await self._balance(keys=[self._members, *self._leases], args=[self.member, life])
        # A tenth is kept back for the drift between two clocks.
        self.deadline = started + self.settings.lease * 0.9
        share = -(-self.settings.shards // members)
        for shard, owned in list(self._owned.items()):
            if owned.task.done():
                if not owned.task.cancelled() and (error := owned.task.exception()) is not None:
                    log.error("shard %d of %s fell, and is begun again: %r", shard, self.name, error)
                del self._owned[shard]
                if shard in held:
                    await self._release(keys=[self._leases[shard]], args=[self.member])
                    held.remove(shard)
            elif shard not in held:
                owned.lose()
        for shard in held:
            if shard not in self._owned and not self._stopping.is_set():
                self._owned[shard] = _Owned(self, shard)
        for shard in sorted(self._owned)[share:]:
            self._owned[shard].leave()

    async def _goodbye(self) -> None:
        try:
            for lease in self._leases:
                await self._release(keys=[lease], args=[self.member])
            await self.client.zrem(self._members, self.member)
            for stream in self.broker.streams(self.topic):
                await self._forget(keys=[stream], args=[self.group, self.member])
        except (RedisError, OSError) as error:
            log.warning("Redis does not answer to a leaving %s of %s: %s", self.group, self.topic, error)

    async def _move_delayed(self) -> None:
        keys = [*self.broker.delayed(self.topic), *self.broker.streams(self.topic)]
        while True:
            wait = 500
            try:
                wait = await self._release_delayed(keys=keys)
            except (RedisError, OSError):
                log.debug("delayed records of %s cannot be moved now", self.topic)
            # Somebody may delay a record for less than the next one has to wait.
            await asyncio.sleep(0.1 if wait < 0 else min(wait / 1000, 0.1))


class _Owned:
    """A shard while this member owns it: reads, handles, acknowledges."""

    def __init__(self, subscription: _Subscription, shard: int) -> None:
        self._of = subscription
        self._client = subscription.client
        self._stream = subscription.broker.stream(subscription.topic, shard)
        self._trim = self._client.register_script(redis_scripts.TRIM)
        self._queue = KeyedQueue()
        self._entries: dict[str, tuple[bytes, ...]] = {}
        self._foreign: list[bytes] = []
        self._acknowledged = 0
        self._leaving = False
        self._reading: asyncio.Task[Any] | None = None
        self.task = asyncio.create_task(self._run(), name=f"redis {self._stream} {subscription.group}")

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
        return await self._client.xreadgroup(of.group, of.member, {self._stream: ">"}, count=of.batch, block=block)

    async def _claim(self) -> None:
        """Take over what an earlier owner was given and did not acknowledge, before anything new."""
        start: Any = "0-0"
        while True:
            start, entries, *_ = await self._client.xautoclaim(
                self._stream, self._of.group, self._of.member, min_idle_time=0, start_id=start, count=500
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
            read = msgspec.msgpack.decode(fields[b"r"], type=_Entry)
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


def _encode(record: BrokerRecord) -> bytes:
    return msgspec.msgpack.encode(_Entry(record.key, record.id, record.payload, record.headers))


def _streams(found: Any) -> Iterable[tuple[bytes, Any]]:
    """The answer of XREADGROUP, as RESP2 lists or as a RESP3 map."""
    return found.items() if isinstance(found, dict) else found or ()
