"""What a gateway alone has answered by a node with rooms: all but its sockets, over HTTP/1.1, a connection each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import h11
import structlog
from chat_common.errors import Unavailable
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from chat_server.http.errors import error_answer

log = structlog.get_logger("chat.http")

CONNECT = 5.0
"""Seconds within which that node takes the connection."""
SILENCE = 60.0
"""Seconds for which it may say nothing."""
PIECE = 65_536
OURS = frozenset((b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"connection", b"keep-alive", b"upgrade"))
"""Fields of a request that are said anew, or concern one connection alone."""
HOP = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"date", b"server"))


class Forward:
    """An ASGI application for HTTP. ``address``: ``unix:PATH`` or ``HOST:PORT``; that node must trust this one as a
    proxy, since it says who the client is."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            answer: Response = await self._answer(request)
        except ClientDisconnect:
            return
        except (OSError, TimeoutError, h11.ProtocolError, EOFError) as error:
            log.warning("not_forwarded", address=self._address, reason=repr(error))
            answer = error_answer(Unavailable("The server is not ready. Try again in a moment.", retry_after=1.0))
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        async with asyncio.timeout(CONNECT):
            reader, writer = await self._connect()
        link = h11.Connection(h11.CLIENT)
        try:
            writer.write(link.send(self._head(request)))
            sending = asyncio.create_task(_send_body(request, link, writer))
            sending.add_done_callback(lambda done: None if done.cancelled() or not done.exception() else writer.close())
            try:
                head = await _next(link, reader)
                while isinstance(head, h11.InformationalResponse):
                    head = await _next(link, reader)
                if not isinstance(head, h11.Response):
                    raise EOFError("the node has ended the connection")
                with contextlib.suppress(OSError, h11.ProtocolError):  # It may answer before it has read all.
                    await sending
            finally:
                sending.cancel()
        except BaseException:
            writer.close()
            raise
        answer = StreamingResponse(_body(link, reader, writer), head.status_code)
        answer.raw_headers = [(name, value) for name, value in head.headers if name not in HOP]
        return answer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._address.startswith("unix:"):
            return await asyncio.open_unix_connection(self._address.removeprefix("unix:"))
        host, _, port = self._address.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port))

    @staticmethod
    def _head(request: Request) -> h11.Request:
        headers = [(name, value) for name, value in request.headers.raw if name not in OURS]
        headers.append((b"connection", b"close"))
        if request.client is not None:  # None: this machine itself.
            headers.append((b"x-forwarded-for", request.client.host.encode()))
            headers.append((b"x-forwarded-proto", request.url.scheme.encode()))
        target = request.scope.get("raw_path") or request.url.path.encode()
        query = request.scope.get("query_string", b"")
        return h11.Request(method=request.method, target=target + (b"?" + query if query else b""), headers=headers)


async def _send_body(request: Request, link: h11.Connection, writer: asyncio.StreamWriter) -> None:
    async for piece in request.stream():
        if piece:
            writer.write(link.send(h11.Data(data=piece)) or b"")
            await writer.drain()
    writer.write(link.send(h11.EndOfMessage()) or b"")
    await writer.drain()


async def _next(link: h11.Connection, reader: asyncio.StreamReader) -> object:
    while True:
        event = link.next_event()
        if event is not h11.NEED_DATA:
            return event
        async with asyncio.timeout(SILENCE):
            link.receive_data(await reader.read(PIECE))


async def _body(
    link: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> AsyncIterator[bytes]:
    try:
        while isinstance(event := await _next(link, reader), h11.Data):
            yield bytes(event.data)
        if not isinstance(event, h11.EndOfMessage):
            raise EOFError("the node has ended its answer too early")
    finally:
        writer.close()


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """What a gateway answers that knows no such node."""
    said = "This node has the WebSockets alone; HTTP is answered by the nodes that run the rooms.\n"
    await PlainTextResponse(said, 404)(scope, receive, send)
