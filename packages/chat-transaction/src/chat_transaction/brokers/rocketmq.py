"""The broker on RocketMQ 5, by its official client.

The client brings twenty to forty threads, writes logs under the home folder when it is imported, and does not survive
a fork: it is imported when a broker is opened, never before.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from hashlib import blake2b
from typing import Any
from zlib import crc32

import msgspec
from attrs import define
from chat_common.backoff import pause
from chat_common.decoding import prepare
from chat_common.errors import Unavailable
from chat_common.ports.broker import BrokerRecord, Handler, RecordsRefused, Refusal

from chat_transaction.brokers.chunks import Chunk, chunks
from chat_transaction.brokers.delivery import ended, outcome, persistently, retry_in
from chat_transaction.brokers.keyed_queue import KeyedQueue
from chat_transaction.brokers.rocketmq_consumer import Left, consumer_class
from chat_transaction.brokers.rocketmq_refusals import refused
from chat_transaction.settings import RocketBrokerSettings

log = logging.getLogger(__name__)

_ANSWER = 20.0
"""Seconds that a send may take, the client's own repetitions included."""

DELAYED = "-delayed"
"""What the name of the topic for delayed records ends in: RocketMQ keeps them apart."""


class _Entry(msgspec.Struct, array_like=True):
    key: str
    id: str
    payload: bytes
    headers: dict[str, str]


prepare(_Entry)


class RocketBroker:
    """`chat_common.ports.broker.Broker` on RocketMQ 5.

    Message group = key (hashed), so the broker itself keeps the order of a key; records of one key that are published
    together travel in one message as far as ``message_bytes`` allow, so that its rate does not bound ours. Topics and
    ordered groups must exist: see `topics` and `groups`; of a topic that does not exist, or is of another type, every
    record is refused. It has no limit of its own to how much may wait: the disk is; when the broker refuses for load,
    `publish` waits and tries again for ``send_patience``. A failing key holds one client thread until its next
    attempt: up to ``threads`` keys may fail at once.
    """

    def __init__(self, settings: RocketBrokerSettings | None = None) -> None:
        self.settings = settings or RocketBrokerSettings()
        self._producer: Any = None
        self._client: Any = None
        self._sends = asyncio.Semaphore(self.settings.sends)
        self._routed: set[str] = set()
        self._starting = asyncio.Lock()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RocketBroker]:
        import rocketmq  # type: ignore[import-untyped]  # it has no types

        self._client = rocketmq
        try:
            yield self
        finally:
            if self._producer is not None:
                await asyncio.to_thread(self._producer.shutdown)
                self._producer = None

    async def ready(self) -> None:
        host, _, port = self.settings.endpoints.split(";")[0].rpartition(":")
        try:
            async with asyncio.timeout(5):
                _, writer = await asyncio.open_connection(host.rpartition("/")[2], int(port))
            writer.close()
        except (OSError, TimeoutError, ValueError) as error:
            raise Unavailable(f"RocketMQ does not answer at {self.settings.endpoints}: {error}") from error

    def topic(self, topic: str, *, delayed: bool = False) -> str:
        return f"{self.settings.prefix}{topic}{DELAYED if delayed else ''}"

    def group(self, group: str) -> str:
        return f"{self.settings.prefix}{group}"

    def configuration(self) -> Any:
        settings, client = self.settings, self._client
        if client is None:
            raise Unavailable("The RocketMQ broker is not open; enter `opened()` first.")
        credentials = client.Credentials(settings.access_key, settings.secret_key)
        return client.ClientConfiguration(settings.endpoints, credentials, settings.namespace, request_timeout=5)

    async def publish(self, records: Sequence[BrokerRecord], *, delay: float = 0.0) -> None:
        await self._start_producer()
        parts: dict[tuple[str, str], list[BrokerRecord]] = {}
        for record in records:
            parts.setdefault((record.topic, record.key), []).append(record)
        # The client sends whole seconds, whatever its documentation says of milliseconds.
        due = math.ceil(time.time() + delay) if delay > 0 else None
        sends = [self._send_key(topic, key, part, due) for (topic, key), part in parts.items()]
        refusals: list[Refusal] = []
        for found in await asyncio.gather(*sends, return_exceptions=True):
            if isinstance(found, BaseException):
                raise Unavailable(f"RocketMQ does not take records: {found}") from found
            refusals += found
        if refusals:
            raise RecordsRefused(refusals)

    async def _start_producer(self) -> None:
        async with self._starting:
            if self._producer is None:
                producer = self._client.Producer(self.configuration())
                await _start(producer)
                self._producer = producer

    async def _send_key(self, topic: str, key: str, records: Sequence[BrokerRecord], due: int | None) -> list[Refusal]:
        """The records of one key, one message after the other; which of them the broker refuses."""
        name = self.topic(topic, delayed=due is not None)
        parts, refusals = chunks(records, _encode, self.settings.message_bytes)
        for part in parts:
            refusals += await self._send_part(name, key, part, due)
        return refusals

    async def _send_part(self, topic: str, key: str, part: Chunk, due: int | None) -> list[Refusal]:
        try:
            message = self._client.Message()
            message.topic = topic
            message.body = msgspec.msgpack.encode([msgspec.Raw(encoded) for _, encoded in part])
            if due is None:
                message.message_group = blake2b(key.encode(), digest_size=16).hexdigest()
            else:
                message.delivery_timestamp = due
            await self._send(message)
        except Exception as error:
            refusal = await refused(error, topic, self._producer)
            if refusal is None:
                raise
            fault, reason = refusal
            if fault == "record" and len(part) > 1:
                # Together they are too large for this broker, or one of them is bad: each half by itself.
                middle = len(part) // 2
                first = await self._send_part(topic, key, part[:middle], due)
                return [*first, *await self._send_part(topic, key, part[middle:], due)]
            return [Refusal(record, reason, fault) for record, _ in part]
        return []

    async def _send(self, message: Any) -> None:
        until = time.monotonic() + self.settings.send_patience
        async with self._sends:
            for attempt in itertools.count(1):
                try:
                    # The client may forget to answer, when its own repetition of a request fails.
                    async with asyncio.timeout(_ANSWER):
                        await asyncio.wrap_future(await self._begin(message))
                    return
                except Exception as error:
                    if "TooManyRequests" not in type(error).__name__ or time.monotonic() > until:
                        raise
                    await asyncio.sleep(pause(attempt, 0.05, 1.0))

    async def _begin(self, message: Any) -> Any:
        """The client asks where a topic is before its first message, and blocks meanwhile."""
        if message.topic in self._routed:
            return self._producer.send_async(message)
        future = await asyncio.to_thread(self._producer.send_async, message)
        self._routed.add(message.topic)
        return future

    @asynccontextmanager
    async def subscribe(self, topic: str, group: str, handler: Handler, *, batch: int = 100) -> AsyncIterator[None]:
        client = self._client
        configuration = self.configuration()
        workers = _Workers(self.settings, topic, handler, batch)

        class Listener(client.MessageListener):  # type: ignore[misc, name-defined]
            def consume(self, message: Any) -> Any:
                workers.run(message)
                return client.ConsumeResult.SUCCESS

        everything = client.FilterExpression()
        consumer = await self._start_consumer(
            lambda: consumer_class(client)(
                configuration,
                self.group(group),
                Listener(),
                {self.topic(topic): everything, self.topic(topic, delayed=True): everything},
                consumption_thread_count=self.settings.threads,
            )
        )
        try:
            yield
        finally:
            try:
                await workers.stop()
            finally:
                workers.abandon()
                await asyncio.shield(asyncio.to_thread(_shut_down, consumer))

    async def _start_consumer(self, make: Callable[[], Any]) -> Any:
        """A broker that starts at the same time as we do is not known to its name server for some seconds. A client
        that did not start cannot be started again, so each try makes one."""
        until = time.monotonic() + self.settings.start_patience
        while True:
            consumer = make()
            try:
                await _start(consumer)
            except Unavailable as error:
                if time.monotonic() > until:
                    raise
                log.warning("%s; trying again", error)
                await asyncio.sleep(1.0)
            else:
                return consumer

    def provision(self, topics: Iterable[str], groups: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """The files that an operator feeds to ``mqadmin``, by what they make: ``topics`` and ``groups``."""
        return {"topics": self.topics(topics, self.settings), "groups": self.groups(groups, self.settings)}

    @staticmethod
    def topics(names: Iterable[str], settings: RocketBrokerSettings) -> list[dict[str, Any]]:
        """What ``mqadmin updateTopicList -f`` reads, for these topics of ours."""
        return [
            {
                "topicName": f"{settings.prefix}{name}{suffix}",
                "readQueueNums": settings.queues,
                "writeQueueNums": settings.queues,
                "perm": 6,
                "attributes": {"+message.type": kind},
            }
            for name in names
            for suffix, kind in (("", "FIFO"), (DELAYED, "DELAY"))
        ]

    @staticmethod
    def groups(names: Iterable[str], settings: RocketBrokerSettings) -> list[dict[str, Any]]:
        """What ``mqadmin updateSubGroupList -f`` reads, for these consumer groups of ours: ordered."""
        return [
            {"groupName": f"{settings.prefix}{name}", "consumeMessageOrderly": True, "retryMaxTimes": 1_000_000}
            for name in names
        ]


async def _start(client: Any) -> None:
    """Start a producer or consumer; a vendor's error does not cross the port."""
    try:
        await asyncio.to_thread(client.startup)
    except Exception as error:
        # The client fails with an AttributeError about itself when it finds no broker: the cause is in the context.
        cause = error.__context__ if isinstance(error, AttributeError) and error.__context__ else error
        raise Unavailable(f"RocketMQ does not answer: {cause}") from error


def _shut_down(consumer: Any) -> None:
    try:
        consumer.shutdown()
    except Exception as error:
        log.warning("a RocketMQ consumer did not end well: %s", error)


def _encode(record: BrokerRecord) -> bytes:
    return msgspec.msgpack.encode(_Entry(record.key, record.id, record.payload, record.headers))


@define(eq=False)
class _Message:
    """A message in a client thread's hands, until all its records are handled."""

    left: int
    done: Future[None]


class _Workers:
    """Between the client's threads, one message each, and handlers, which get batches on the event loop."""

    def __init__(self, settings: RocketBrokerSettings, topic: str, handler: Handler, batch: int) -> None:
        self._settings = settings
        self._topic = topic
        self._handler = handler
        self._batch = batch
        self._loop = asyncio.get_running_loop()
        self._queues = [KeyedQueue() for _ in range(settings.workers)]
        self._work = [asyncio.Event() for _ in range(settings.workers)]
        self._messages: dict[str, list[_Message]] = {}
        self._stopping = False
        self._name = f"a worker of topic {topic} on RocketMQ"
        self._tasks = [
            asyncio.create_task(persistently(partial(self._run, number), self._name), name=self._name)
            for number in range(settings.workers)
        ]

    def run(self, message: Any) -> None:
        """In a client thread: returns when every record of the message is handled."""
        try:
            entries = msgspec.msgpack.decode(message.body, type=list[_Entry])
        except msgspec.MsgspecError as error:
            # Nobody of us wrote it; it is acknowledged, so that it stops nobody.
            log.error("a message of topic %s holds no records and is passed over: %s", self._topic, error)
            return
        if not entries:
            return
        done: Future[None] = Future()
        attempt = max(1, message.delivery_attempt or 1)
        self._loop.call_soon_threadsafe(self._put, entries, attempt, _Message(len(entries), done))
        done.result()

    def _put(self, entries: Sequence[_Entry], attempt: int, message: _Message) -> None:
        if self._stopping:
            message.done.set_exception(Left())
            return
        for entry in entries:
            known = self._messages.setdefault(entry.id, [])
            known.append(message)
            if len(known) == 1:
                number = crc32(entry.key.encode()) % len(self._queues)
                self._queues[number].put(
                    BrokerRecord(self._topic, entry.key, entry.payload, entry.id, attempt, entry.headers)
                )
                self._work[number].set()

    async def _run(self, number: int) -> None:
        queue, work = self._queues[number], self._work[number]
        while not self._stopping:
            work.clear()
            batch = queue.take(self._batch, self._loop.time())
            if batch:
                try:
                    await self._deliver(queue, batch)
                except BaseException:
                    queue.hold(batch, (), self._loop.time())
                    raise
                continue
            try:
                async with asyncio.timeout_at(queue.next_time()):
                    await work.wait()
            except TimeoutError:
                pass

    async def _deliver(self, queue: KeyedQueue, batch: list[BrokerRecord]) -> None:
        error = await outcome(self._handler, batch)
        left = set()
        if error is not None:
            until = self._loop.time() + retry_in(error, self._settings.retry_first, self._settings.retry_cap)
            queue.hold(error.failed, error.later, until)
            left = {record.id for record in (*error.failed, *error.later)}
        for record in batch:
            if record.id not in left:
                for message in self._messages.pop(record.id, ()):
                    message.left -= 1
                    if not message.left and not message.done.done():
                        message.done.set_result(None)

    async def stop(self) -> None:
        """Let running batches end; those that take too long are cancelled."""
        self._stopping = True
        for work in self._work:
            work.set()
        try:
            await ended(self._tasks, self._settings.leave_timeout, self._name)
        except asyncio.CancelledError:
            for task in self._tasks:
                task.cancel()
            raise

    def abandon(self) -> None:
        """Leave what is in the threads' hands to others."""
        self._stopping = True
        for messages in self._messages.values():
            for message in messages:
                if not message.done.done():
                    message.done.set_exception(Left())
        self._messages.clear()
