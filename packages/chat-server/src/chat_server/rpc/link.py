"""The calls of this node to another one: one stream, a message for each loop turn."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from typing import Any

import grpc
import msgspec
from chat_common.backoff import pause
from chat_common.errors import TooLarge, Unavailable

from chat_server.rpc.frames import METHOD, SECRET, Call, Calls, encode, error_of, read_answers
from chat_server.rpc.settings import GrpcRpcSettings, Trust

log = logging.getLogger(__name__)

_CONNECT = 2.0
_FIRST, _CAP = 0.05, 2.0
"""Seconds in which a node that did not answer is not tried again."""
OPTIONS = [
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
]
"""A peer whose machine is gone, or whose answers do not come through, is noticed within 8 s."""


class LinkBroken(Unavailable):
    """The connection broke, or could not be made. ``sent``: the call may have been carried out."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message, retry_after=1.0)
        self.sent = sent


class Link:
    """Opens its stream with the first call, and again, after a pause, when it has broken. What is called meanwhile
    fails at once: whoever may repeat it does so, elsewhere or later."""

    def __init__(self, name: str, address: str, trust: Trust, settings: GrpcRpcSettings) -> None:
        self.address = address
        self._name = name
        self._trust = trust
        self._settings = settings
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[bytes]] = {}
        self._outgoing: deque[Call] = deque()
        self._cancelled: list[int] = []
        self._sent: set[int] = set()
        self._some = asyncio.Event()
        self._failures = 0
        self._closed_until = 0.0
        self._task: asyncio.Task[None] | None = None

    async def call(self, service: str, method: str, record: bytes, deadline: float) -> bytes:
        """The encoded answer; `LinkBroken`; the error that the other node answered with; `Unavailable` after
        ``deadline`` seconds."""
        loop = asyncio.get_running_loop()
        limit = self._settings.message_bytes
        if len(record) > limit:
            raise TooLarge(f"The record for {service}.{method} is larger than {limit} bytes.", limit=limit)
        limit = self._settings.max_open_calls
        if len(self._open) >= limit:
            raise Unavailable(f"{limit} calls to the node {self._name} are open.", limit=limit, retry_after=1.0)
        if loop.time() < self._closed_until:
            raise LinkBroken(f"The node {self._name} did not answer a moment ago.", sent=False)
        number = next(self._numbers)
        answer = self._open[number] = loop.create_future()
        self._outgoing.append(Call(number, service, method, deadline, record))
        self._some.set()
        if self._task is None:
            self._task = loop.create_task(self._run(), name=f"calls to {self._name}")
        try:
            async with asyncio.timeout(deadline) as limit_of_time:
                encoded: bytes = await answer
                return encoded
        except TimeoutError as error:
            assert limit_of_time.expired()
            message = f"The node {self._name} did not answer {service}.{method} within {deadline:g} s."
            raise Unavailable(message) from error
        finally:
            del self._open[number]
            if number in self._sent:
                self._sent.discard(number)
                if not answer.done() or answer.cancelled():
                    self._cancelled.append(number)
                    self._some.set()

    async def close(self) -> None:
        """Open calls fail."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._fail(f"The node {self._name} is gone.")
        self._closed_until = float("inf")

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            reason = "it has ended the connection"
            try:
                await self._stream()
            except (grpc.RpcError, OSError, TimeoutError, msgspec.MsgspecError) as error:
                reason = repr(error)
                if isinstance(error, grpc.aio.AioRpcError):
                    reason = error.details() or str(error.code())
            self._failures += 1
            again = pause(self._failures, _FIRST, _CAP)
            log.warning("no connection to the node %s at %s: %s", self._name, self.address, reason)
            self._closed_until = asyncio.get_running_loop().time() + again
            self._fail(f"The connection to the node {self._name} broke: {reason}")
            await asyncio.sleep(again)

    async def _stream(self) -> None:
        async with self._channel() as channel:
            proof = ((SECRET, self._trust.secret),) if self._trust.secret else ()
            stream: Any = channel.stream_stream(METHOD)(metadata=proof)
            async with asyncio.timeout(_CONNECT):
                await stream.wait_for_connection()
            self._failures = 0
            writing = asyncio.create_task(self._write(stream))
            try:
                while (message := await stream.read()) is not grpc.aio.EOF:
                    for answer in read_answers(message).answers:
                        self._sent.discard(answer.number)
                        waiting = self._open.get(answer.number)
                        if waiting is None or waiting.done():
                            continue  # its deadline has passed
                        if answer.error is not None:
                            waiting.set_exception(error_of(answer.error))
                        else:
                            waiting.set_result(answer.record)
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
                stream.cancel()

    async def _write(self, stream: Any) -> None:
        most = self._settings.batch_bytes
        while True:
            await self._some.wait()
            self._some.clear()
            while self._outgoing or self._cancelled:
                calls, size = [], 0
                while self._outgoing and size < most:
                    call = self._outgoing.popleft()
                    if call.number in self._open:  # else it has been cancelled, or its deadline has passed
                        calls.append(call)
                        size += call.size
                        self._sent.add(call.number)
                cancelled, self._cancelled = self._cancelled, []
                if calls or cancelled:
                    await stream.write(encode(Calls(calls, cancelled)))

    def _channel(self) -> grpc.aio.Channel:
        options = [*OPTIONS, *self._settings.grpc_limits]
        if self._trust.tls:
            credentials = grpc.ssl_channel_credentials(self._trust.ca, self._trust.key, self._trust.cert)
            return grpc.aio.secure_channel(self.address, credentials, options)
        return grpc.aio.insecure_channel(self.address, options)

    def _fail(self, reason: str) -> None:
        for number, waiting in self._open.items():
            if not waiting.done():
                waiting.set_exception(LinkBroken(reason, sent=number in self._sent))
        self._sent.clear()
        self._outgoing.clear()
        self._cancelled.clear()
        self._some.clear()
