"""A line to the server: whole transport messages in both directions, until it breaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as _connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from chat_common.codec import MAX_FRAMES, Codec
from chat_common.errors import Invalid
from chat_common.protocol.frames import SUBPROTOCOL, ClientFrame
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


def transport_messages(codec: Codec, frames: Iterable[ClientFrame], limit: int) -> Iterator[bytes]:
    """The frames, in order, in as few transport messages as ``limit`` (bytes of one) and the protocol allow."""
    batch: list[bytes] = []
    size = 2
    for frame in frames:
        encoded = codec.encode(frame)
        if batch and (len(batch) == MAX_FRAMES or size + len(encoded) + 1 > limit):
            yield codec.join(batch)
            batch, size = [], 2
        batch.append(encoded)
        size += len(encoded) + 1
    if batch:
        yield codec.join(batch)


def http_url(url: str) -> str:
    """The server's ``http(s)://HOST:PORT`` and its path, of either kind of address."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme)
    if scheme is None:
        return url
    return urlunsplit((scheme, parts.netloc, parts.path.removesuffix("/ws"), "", ""))


def websocket_url(url: str) -> str:
    """``http://HOST:PORT`` → ``ws://HOST:PORT/ws``; a WebSocket URL stays as it is. Raises `Invalid`."""
    parts = urlsplit(url)
    if parts.scheme in ("ws", "wss") and parts.netloc:
        return url
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise Invalid(
            f"{url!r} is not the address of a server: give http://HOST:PORT, https://HOST, or ws(s)://HOST/ws",
            field="url",
        )
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/ws", "", ""))
