"""The asyncio client: a `ClientSession` with a line, a clock and a send queue."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from chat_common.client.backoff import Backoff
from chat_common.client.commands import Commands
from chat_common.client.handlers import Handlers
from chat_common.client.line import (
    Line,
    LineClosed,
    Opener,
    http_url,
    open_websocket,
    transport_messages,
    websocket_url,
)
from chat_common.client.sending import MessageRefused, MessageSent, Outgoing, SendQueue
from chat_common.client.subscription import Subscription
from chat_common.clock import Clock, SystemClock
from chat_common.codec.json import JsonCodec
from chat_common.errors import ChatError, Invalid
from chat_common.protocol.client import ClientSession
from chat_common.protocol.client_events import Answered, Ended, Event
from chat_common.protocol.client_state import State
from chat_common.protocol.frames import Device
from chat_common.wire import Limits, Receipt

logger = logging.getLogger(__name__)

STEADY_AFTER = 1.0
"""Seconds that a connection has to live before the next loss counts as the first."""

KEPT_MESSAGES = 2_000
"""Messages of each conversation that a client holds which is not ``whole``."""

E = TypeVar("E")
ClientEvent = Event | MessageSent | MessageRefused


class ChatClient(Commands):
    """A client that stays a client: it reconnects (jittered, exponential), resumes, syncs, repeats and sends on.

    Use it as an async context manager; it connects in the background from then on. Guarantees:

    - A `call` returns its one answer, however many connections that takes; a command that changes something is done
      once. Cancelling it gives up the answer, not what the server may have done.
    - `submit` keeps the order per conversation across reconnects, and returns when the message is stored for good.
    - `state` ends up as the server's, and each message is one `MessageReceived`, in order of ``seq`` per conversation.
      It holds the newest ``keep`` messages of each conversation, or with ``whole`` all there ever were.

    After the server's final word (token invalid, banned, replaced) calls raise, and `events` ends with `Ended`.
    Not for use from several threads.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        device: Device | None = None,
        whole: bool = False,
        keep: int = KEPT_MESSAGES,
        queue: SendQueue | None = None,
        backoff: Backoff | None = None,
        opener: Opener = open_websocket,
        clock: Clock | None = None,
    ) -> None:
        if opener is open_websocket:
            websocket_url(url)  # a wrong address is told now, not by trying it for ever
        self._url = url
        self._failure = ""
        device = device or Device(secrets.token_hex(8), "python")
        self._session = ClientSession(device, token, whole=whole, keep=keep)
        self._queue = queue if queue is not None else SendQueue()
        self._backoff = backoff if backoff is not None else Backoff()
        self._opener = opener
        self._clock = clock if clock is not None else SystemClock()
        self._codec = JsonCodec()
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._waiting: Counter[str] = Counter()
        self._receipts: dict[str, asyncio.Future[Receipt]] = {}
        self._sending: dict[str, Outgoing] = {}
        self._subscriptions: set[Subscription] = set()
        self._handlers = Handlers()
        self._wake = asyncio.Event()
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="chat-client")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Say nothing more; open calls fail, queued messages stay in the queue's file. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._session.end()
        await self._turn()
        await self._handlers.close()
        self._queue.close()

    # --- what it knows --------------------------------------------------------------------------------------------

    @property
    def session(self) -> ClientSession:
        """The protocol's state: phase, counters, what is left to sync."""
        return self._session

    @property
    def state(self) -> State:
        """The copy of everything this user may see."""
        return self._session.state

    @property
    def address(self) -> str:
        """The server's ``http(s)://HOST:PORT``."""
        return http_url(self._url)

    @property
    def failure(self) -> str:
        """Why the last try to connect failed; empty once a connection was open."""
        return self._failure

    @property
    def connected(self) -> bool:
        return self._session.phase == "live"

    @property
    def pending(self) -> list[Outgoing]:
        """Messages without a receipt, in order per conversation."""
        return self._queue.entries()

    async def live(self) -> None:
        """Wait until a connection stands. Raises when the session has ended."""
        await self._until(lambda: self._session.phase == "live")

    async def settled(self) -> None:
        """Wait until the copy is as new as the server's last word. Raises when the session has ended."""
        await self._until(lambda: self._session.settled)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: condition() or self._over)
        if not condition():
            assert self._session.ending is not None
            raise self._session.ending

    # --- events ---------------------------------------------------------------------------------------------------

    def events(self) -> Subscription:
        """What happens from now on, as an async iterator of events, in order; it ends when the session does.

        It begins with this call. One that is not read fills up and then fails, so that it cannot eat the memory.
        """
        subscription = Subscription(self._subscriptions.discard)
        if self._over:
            subscription.end()
        else:
            self._subscriptions.add(subscription)
        return subscription

    def on(self, kind: type[E], handler: Callable[[E], Awaitable[None] | None]) -> Callable[[], None]:
        """Call ``handler`` for each event of this class, in the order they come; returns what ends that.

        A coroutine function runs beside the client, one event after the other, at most 10,000 events behind.
        """
        return self._handlers.add(kind, handler)

    # --- doing ----------------------------------------------------------------------------------------------------

    async def _call(self, command: str, params: Any, ref: str | None) -> Any:
        ref = secrets.token_hex(16) if ref is None else ref
        answer = self._answers.get(ref)
        if answer is None:
            self._session.call(ref, command, params)
            answer = self._answers[ref] = asyncio.get_running_loop().create_future()
            self._wake.set()
        self._waiting[ref] += 1
        try:
            return await asyncio.shield(answer)
        finally:
            self._waiting[ref] -= 1
            if not self._waiting[ref]:
                del self._waiting[ref]
                if not answer.done():  # its caller has gone
                    self._session.forget(ref)
                    self._answers.pop(ref, None)

    async def submit(
        self,
        conversation: str,
        text: str | None = None,
        *,
        kind: str = "text",
        body: Any = None,
        reply_to: int | None = None,
        mentions: list[str] | None = None,
        ref: str | None = None,
    ) -> Receipt:
        """Send a message through the queue: ``text``, or any ``kind`` with its ``body``. Returns the receipt.

        Waits as long as it takes, over reconnects and passing errors (rate limit, unavailable); raises what the
        server refuses for good. Cancelling does not take the message back: it stays queued.
        """
        if (text is None) == (body is None):
            raise Invalid("A message has either a text or a body, not both and not neither.", field="text")
        if self._session.ending is not None:
            raise self._session.ending
        what = {"text": text} if body is None else body
        outgoing = Outgoing(ref or secrets.token_hex(16), conversation, kind, what, reply_to, mentions)
        receipt = self._receipts.get(outgoing.ref)
        if receipt is None:
            receipt = self._receipts[outgoing.ref] = asyncio.get_running_loop().create_future()
            receipt.add_done_callback(_looked_at)
            self._queue.add(outgoing)
            self._wake.set()
        return await asyncio.shield(receipt)

    def note(self, event: str, data: Any) -> None:
        """Send an ephemeral event, such as ``typing {conversation}``; dropped while there is no connection."""
        self._session.note(event, data)
        self._wake.set()

    def resync(self, conversation: str | None = None) -> None:
        """Sync although nothing seems to be missing; `settled` tells when it is done."""
        self._session.resync(conversation)
        self._wake.set()

    def look_again(self) -> None:
        """Do what is due by now: for a ``clock`` that moves only when a test moves it."""
        self._wake.set()

    # --- the connection -------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._clock.monotonic()

    @property
    def _over(self) -> bool:
        return self._session.phase == "over"

    async def _run(self) -> None:
        try:
            while not self._over:
                await self._connect()
                await self._turn()
                if not self._over:
                    await asyncio.sleep(self._backoff.next())
        except Exception:
            logger.exception("the client failed")
            self._session.end(1011, "the client failed")
            await self._turn()

    async def _connect(self) -> None:
        try:
            line = await self._opener(self._url)
        except (OSError, LineClosed) as error:  # a timeout is an OSError, too
            # The first failure in a row is worth a line; that a server stays away is not worth a thousand.
            level = logging.DEBUG if self._failure else logging.WARNING
            self._failure = str(error) or type(error).__name__
            logger.log(level, "no connection to %s: %s; trying again until there is one", self._url, self._failure)
            return
        self._failure = ""
        began = self._now()
        await self._serve(line)
        if self._now() - began >= STEADY_AFTER:
            self._backoff.reset()

    async def _serve(self, line: Line) -> None:
        """One connection, from hello to its end."""
        self._session.connected(self._now())
        code: int | None = None
        reader = asyncio.create_task(self._read(line), name="chat-client-reader")
        reader.add_done_callback(lambda _: self._wake.set())
        try:
            while not reader.done() and not self._over and self._session.poll(self._now()):
                self._wake.clear()
                await self._write(line)
                await self._turn()
                await self._sleep()
        except LineClosed as closed:
            code = closed.code
        finally:
            reader.cancel()
            await asyncio.wait([reader])
            if not reader.cancelled():
                code = reader.result() or code
            self._session.lost(code, self._now())
            await line.close()

    async def _read(self, line: Line) -> int | None:
        """Feeds the session until the line ends; the close code."""
        while True:
            try:
                message = await line.receive()
            except LineClosed as closed:
                return closed.code
            try:
                for frame in self._codec.server_frames(message):
                    self._session.receive(frame, self._now())
            except (ChatError, msgspec.ValidationError, KeyError) as error:
                logger.warning("what the server said cannot be understood: %s", error)
                return None
            await self._turn()
            self._wake.set()

    async def _write(self, line: Line) -> None:
        if self._session.phase == "live":
            for outgoing in self._queue.take(self._now()):
                self._sending[outgoing.ref] = outgoing
                self._session.call(outgoing.ref, "submit", outgoing.params())
        limit = self._session.welcome.limits.frame_bytes if self._session.welcome else Limits().frame_bytes
        for message in transport_messages(self._codec, self._session.take_frames(self._now()), limit):
            await line.send(message)

    async def _sleep(self) -> None:
        """Until there is something to do."""
        times = (self._session.deadline(), self._queue.deadline())
        wait = min((time for time in times if time is not None), default=None)
        try:
            async with asyncio.timeout(None if wait is None else max(0.0, wait - self._now())):
                await self._wake.wait()
        except TimeoutError:
            pass

    # --- what comes out -------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        if self._publish():
            async with self._changed:
                self._changed.notify_all()

    def _publish(self) -> bool:
        told = self._session.take_events()
        for event in told:
            if isinstance(event, Answered):
                self._settle(event)
            self._emit(event)
            if isinstance(event, Ended):
                self._end(event)
        return bool(told)

    def _settle(self, answer: Answered) -> None:
        outgoing = self._sending.pop(answer.ref, None)
        if outgoing is not None:
            self._settle_message(outgoing, answer)
        waiting = self._answers.pop(answer.ref, None)
        if waiting is not None and not waiting.done():
            if answer.error is not None:
                waiting.set_exception(answer.error)
            else:
                waiting.set_result(answer.result)

    def _settle_message(self, outgoing: Outgoing, answer: Answered) -> None:
        if self._over:
            return  # unanswered, and still queued
        if answer.error is None:
            receipt = msgspec.convert(answer.result, Receipt)
            self._queue.sent(outgoing)
            self._emit(MessageSent(outgoing, receipt))
            if (waiting := self._receipts.pop(outgoing.ref, None)) is not None:
                waiting.set_result(receipt)
        elif self._queue.refused(outgoing, answer.error, self._now()):
            self._emit(MessageRefused(outgoing, answer.error))
            if (waiting := self._receipts.pop(outgoing.ref, None)) is not None:
                waiting.set_exception(answer.error)
        self._wake.set()

    def _emit(self, event: ClientEvent) -> None:
        self._handlers.emit(event)
        for subscription in list(self._subscriptions):
            subscription.put(event)

    def _end(self, event: Ended) -> None:
        for waiting in [*self._receipts.values(), *self._answers.values()]:
            if not waiting.done():
                waiting.set_exception(event.error)
                waiting.exception()
        self._receipts.clear()
        self._answers.clear()
        for subscription in list(self._subscriptions):
            subscription.end()


def _looked_at(receipt: asyncio.Future[Receipt]) -> None:
    """Take note of a refusal that nobody waits for: it was told as an event."""
    if not receipt.cancelled():
        receipt.exception()
