"""The calls of other nodes to this one."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import msgspec
from chat_common.errors import ChatError, Invalid, TooLarge, Unavailable
from chat_common.memory.rpc import Handlers
from chat_common.settings import SetupError

from chat_server.rpc.frames import METHOD, SECRET, Answer, Answers, Call, encode, error_body, read_calls
from chat_server.rpc.link import OPTIONS
from chat_server.rpc.settings import GrpcRpcSettings, Trust

log = logging.getLogger(__name__)

_GRACE = 1.0
_DEADLINE = 3_600.0
"""Seconds that a call may take at most, whatever its caller asks for."""


class Listener:
    def __init__(self, handlers: Handlers, trust: Trust, settings: GrpcRpcSettings) -> None:
        self._handlers = handlers
        self._trust = trust
        self._settings = settings

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[str]:
        """Yields the address with the port that was bound. `SetupError` when it cannot be."""
        settings = self._settings
        self._trust.check(settings.address)
        server = grpc.aio.server(
            options=[
                *OPTIONS,
                *settings.grpc_limits,
                ("grpc.so_reuseport", 0),
                # Keepalive pings of links that have nothing to say.
                ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ]
        )
        service, method = METHOD.strip("/").split("/")
        turns: Any = grpc.stream_stream_rpc_method_handler(self._turns)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: turns}),))
        try:
            if self._trust.tls:
                pair = [(self._trust.key, self._trust.cert)]
                credentials = grpc.ssl_server_credentials(pair, self._trust.ca, require_client_auth=True)
                port = server.add_secure_port(settings.address, credentials)
            else:
                port = server.add_insecure_port(settings.address)
        except RuntimeError as error:
            raise SetupError(f"Nodes cannot be answered at {settings.address}: is the address taken?") from error
        await server.start()
        try:
            yield settings.address if port <= 1 else f"{settings.address.rpartition(':')[0]}:{port}"
        finally:
            await server.stop(_GRACE)

    async def _turns(self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> None:
        metadata = dict(context.invocation_metadata() or ())
        if self._trust.secret and not hmac.compare_digest(str(metadata.get(SECRET, "")), self._trust.secret):
            log.warning("a node from %s has shown a wrong secret", context.peer())
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "The secret is wrong.")
        await context.send_initial_metadata(())
        caller = _Caller(self._handlers, self._settings)
        writing = asyncio.create_task(caller.write(context))
        try:
            async for message in messages:
                try:
                    caller.take(message)
                except msgspec.MsgspecError:
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "This is not a message of calls.")
        finally:
            writing.cancel()
            await asyncio.gather(writing, caller.cancelled(), return_exceptions=True)


class _Caller:
    """One node that calls, while its stream is open."""

    def __init__(self, handlers: Handlers, settings: GrpcRpcSettings) -> None:
        self._handlers = handlers
        self._settings = settings
        self._running: dict[int, asyncio.Task[None]] = {}
        self._answers: list[Answer] = []
        self._some = asyncio.Event()

    def take(self, message: bytes) -> None:
        found = read_calls(message)
        for call in found.calls:
            if len(self._running) >= self._settings.max_open_calls or call.number in self._running:
                self._answer(call, Unavailable("Too many calls of this node are open.", retry_after=1.0))
            else:
                # Tasks begin in the order in which they are made: so do the calls.
                self._running[call.number] = asyncio.create_task(self._carry_out(call))
        for number in found.cancelled:
            if (task := self._running.get(number)) is not None:
                task.cancel()

    async def cancelled(self) -> None:
        """Nobody waits for the answers any more."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def write(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            answers, self._answers = self._answers, []
            while answers:
                size, count = 0, 0
                while count < len(answers) and size < self._settings.batch_bytes:
                    size += answers[count].size
                    count += 1
                await context.write(encode(Answers(answers[:count])))
                del answers[:count]

    async def _carry_out(self, call: Call) -> None:
        try:
            method, _ = self._handlers.find(call.service, call.method)
            try:
                record = msgspec.msgpack.decode(call.record, type=method.request)
            except msgspec.MsgspecError as error:
                raise Invalid(f"The record for {call.service}.{call.method} cannot be read: {error}") from error
            deadline = min(max(0.0, call.deadline), _DEADLINE)
            found = await self._handlers.carry_out(call.service, call.method, record, deadline)
            encoded = msgspec.msgpack.encode(found)
            if len(encoded) > self._settings.message_bytes:
                limit = self._settings.message_bytes
                raise TooLarge(f"The answer has {len(encoded)} bytes, more than {limit}.", limit=limit)
            self._answer(call, encoded)
        except ChatError as error:
            self._answer(call, error)
        except TypeError:
            log.exception("the answer of %s.%s cannot be written", call.service, call.method)
            self._answer(call, Unavailable(f"{call.service}.{call.method} failed."))
        finally:
            self._running.pop(call.number, None)

    def _answer(self, call: Call, answer: bytes | ChatError) -> None:
        if isinstance(answer, ChatError):
            self._answers.append(Answer(call.number, error=error_body(answer)))
        else:
            self._answers.append(Answer(call.number, answer))
        self._some.set()
