"""A line to the server: whole transport messages in both directions, until it breaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as _connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from chat_common.protocol.frames import SUBPROTOCOL
from chat_common.wire import Limits

OPEN_WITHIN = 10.0
"""Seconds that opening a line may take."""


class LineClosed(Exception):
    """The line is gone; ``code`` is the close code that came, or None when it just broke."""

    def __init__(self, code: int | None = None) -> None:
        super().__init__(f"the line is closed ({code})")
        self.code = code


class Line(Protocol):
    """One connection. Methods may be called from one reading and one writing task; closing is idempotent."""

    async def receive(self) -> bytes:
        """The next transport message. Raises `LineClosed`."""
        ...

    async def send(self, message: bytes) -> None:
        """Hand a message over; waits while the line is congested. Raises `LineClosed`."""
        ...

    async def close(self) -> None: ...


Opener = Callable[[str], Awaitable[Line]]
"""Opens a line to a URL; raises OSError or `LineClosed` when it cannot."""


class WebSocketLine:
    """A `Line` over a WebSocket of the library ``websockets``."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def receive(self) -> bytes:
        try:
            return await self._socket.recv(decode=False)
        except ConnectionClosed as closed:
            raise LineClosed(closed.rcvd.code if closed.rcvd is not None else None) from None

    async def send(self, message: bytes) -> None:
        try:
            await self._socket.send(message, text=True)
        except ConnectionClosed as closed:
            raise LineClosed(closed.rcvd.code if closed.rcvd is not None else None) from None

    async def close(self) -> None:
        await self._socket.close()


async def open_websocket(url: str) -> Line:
    """A WebSocket to ``url``: ``ws://…/ws``, or the server's ``http://HOST:PORT``."""
    try:
        socket = await _connect(
            websocket_url(url),
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            max_size=Limits().server_frame_bytes,
            open_timeout=OPEN_WITHIN,
            close_timeout=1,
            ping_interval=None,  # life is judged by the session
            compression=None,
            user_agent_header=None,
        )
    except WebSocketException as error:
        raise ConnectionError(str(error)) from error
    return WebSocketLine(socket)


def websocket_url(url: str) -> str:
    """``http://HOST:PORT`` → ``ws://HOST:PORT/ws``; a WebSocket URL stays as it is."""
    parts = urlsplit(url)
    if parts.scheme in ("ws", "wss"):
        return url
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme)
    if scheme is None:
        raise ValueError(f"{url!r} is no http(s) or ws(s) URL")
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/ws", "", ""))
