"""The gateway behind any ASGI server: for a host application that mounts the chat beside its own routes.

It costs a task for each connection, since ASGI's ``send`` must be awaited; our own server uses `websocket` instead.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from chat_common.codec import Codec
from chat_common.errors import ChatError, Invalid
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from chat_server.gateway import ClientConnection, Gateway
from chat_server.transports.framing import messages
from chat_server.transports.origins import PATH, Origins, names_token

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Vouch = Callable[[HTTPConnection], Awaitable[str | None]]
"""The id of the user for whom the application around the server vouches; None: nobody."""

GOODBYE = 1.0
"""Seconds that the `bye` of a connection may take which the ASGI server has cancelled."""
HIGH, LOW = 1 << 18, 1 << 16
"""Bytes that wait for the server's ``send`` above which nothing more is written, and below which it goes on."""


class AsgiFraming:
    """Packs frames into ASGI events, made once and sent to every connection that is to get them."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def pack(self, frames: Sequence[bytes]) -> list[tuple[int, dict[str, Any]]]:
        packed: list[tuple[int, dict[str, Any]]] = []
        for message in messages(self._codec, frames):
            body = {"bytes": message} if self._codec.binary else {"text": message.decode()}
            packed.append((len(message), {"type": "websocket.send", **body}))
        return packed


class AsgiTransport:
    """An ASGI application for the scope ``websocket``; any other scope is answered by ``fallback``, or is an error.

    Compare `transports.websocket.WebSocketTransport`. The path is compared after the mount point was taken off.
    The address of a client is what the scope says: see `transports.peers.PeerOf`.
    The server in front must close messages above 64 KiB by itself; here they end the connection with 1009.
    """

    def __init__(
        self, gateway: Gateway, *, origins: Origins | None = None, path: str = PATH, vouched: Vouch | None = None
    ) -> None:
        """``vouched``: says whose a connection is, asked before it is accepted."""
        self.gateway = gateway
        self.origins = origins or Origins()
        self.path = path
        self.vouched = vouched
        self.framing = AsgiFraming(gateway.codec)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise RuntimeError(f"this application serves websocket scopes, not {scope['type']}")
        await receive()  # websocket.connect
        status = self._refusal(scope)
        if status is not None:
            await _refuse(scope, send, status)
            return
        try:
            user = None if self.vouched is None else await self.vouched(HTTPConnection(scope))
        except ChatError as error:
            await _refuse(scope, send, error.status)
            return
        except HTTPException as error:
            await _refuse(scope, send, error.status_code)
            return
        name = self.gateway.codec.subprotocol
        offered = scope.get("subprotocols") or ()
        await send({"type": "websocket.accept", "subprotocol": name if name in offered else None, "headers": []})
        await AsgiConnection(self, scope, user).run(receive, send)

    def _refusal(self, scope: Scope) -> int | None:
        headers: dict[bytes, bytes] = dict(scope.get("headers", ()))
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        offered = scope.get("subprotocols") or ()
        if path != self.path:
            return 404
        if names_token(scope.get("query_string", b"").decode("latin-1")):
            return 400
        if offered and self.gateway.codec.subprotocol not in offered:
            return 400
        origin, host = headers.get(b"origin"), headers.get(b"host")
        refused = self.origins.refusal(
            origin.decode("latin-1") if origin is not None else None,
            host.decode("latin-1") if host is not None else None,
        )
        return None if refused is None else 403


async def _refuse(scope: Scope, send: Send, status: int) -> None:
    """With its status where the server can say it, else by closing before accepting (which servers answer with 403)."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})
    else:
        await send({"type": "websocket.close", "code": 1008})


class AsgiConnection:
    """One connection: a `Wire` for the gateway, written by one task."""

    def __init__(self, transport: AsgiTransport, scope: Scope, user: str | None = None) -> None:
        self._with = transport
        self.user = user
        self.framing = transport.framing
        client = scope.get("client")
        self.address: str | None = str(client[0]) if client else None
        self._events: deque[tuple[int, dict[str, Any]]] = deque()
        self._size = 0
        self._paused = False
        self._something = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()
        self._over = False
        self._link: ClientConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve until either side ends it."""
        self._link = self._with.gateway.connect(self)
        self._tasks = [asyncio.create_task(self._read(receive)), asyncio.create_task(self._write(send))]
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # How some ASGI servers stop: the client hears so, and comes back by itself.
            self._link.retire()
            await asyncio.wait(self._tasks, timeout=GOODBYE, return_when=asyncio.FIRST_COMPLETED)
            raise
        finally:
            self._over = True
            self._link.lost()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- called by the gateway ---

    def write(self, packed: list[tuple[int, dict[str, Any]]]) -> None:
        if self._over:
            return
        self._events.extend(packed)
        self._size += sum(size for size, _ in packed)
        self._something.set()
        if self._size > HIGH and not self._paused and self._link is not None:
            self._paused = True
            self._link.paused()

    def close(self, code: int, reason: str) -> None:
        if not self._over:
            self._events.append((0, {"type": "websocket.close", "code": code, "reason": reason}))
            self._something.set()
            self._over = True

    def abort(self) -> None:
        self._over = True
        for task in self._tasks:
            task.cancel()

    def pause_reading(self) -> None:
        self._reading.clear()

    def resume_reading(self) -> None:
        self._reading.set()

    # --- inside ---

    async def _read(self, receive: Receive) -> None:
        gateway, link = self._with.gateway, self._link
        assert link is not None
        while True:
            await self._reading.wait()
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            text, data = event.get("text"), event.get("bytes")
            if (text is None) is not gateway.codec.binary:
                link.refuse(Invalid("A message must be binary." if text is not None else "A message must be text."))
                continue
            message: bytes = text.encode("utf-8", "surrogatepass") if text is not None else data or b""
            if len(message) > gateway.limits.frame_bytes:
                self.close(1009, "message too big")
                await asyncio.Event().wait()  # The writing task ends the connection.
            link.received(message)

    async def _write(self, send: Send) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            while self._events:
                size, event = self._events.popleft()
                await send(event)
                self._size -= size
                if event["type"] == "websocket.close":
                    return
            if self._paused and self._size <= LOW and self._link is not None:
                self._paused = False
                self._link.resumed()
