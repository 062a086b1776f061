"""WebSocket: the sans-I/O protocol of `websockets` in a plain `asyncio.Protocol`, given to uvicorn as ``ws=``.

No task, no queue and no timer for a connection. Compression is refused: it would make every session's bytes its own.
"""

from __future__ import annotations

import asyncio
import http
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from chat_common.codec import Codec
from chat_common.errors import Invalid
from websockets.datastructures import Headers
from websockets.exceptions import NegotiationError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # Built without a C compiler.
    from websockets.utils import apply_mask

from chat_server.gateway import ClientConnection, Gateway
from chat_server.refusals import Refusals
from chat_server.transports.admission import Admission
from chat_server.transports.framing import messages
from chat_server.transports.origins import PATH, Origins, names_token
from chat_server.transports.peers import Peers
from chat_server.transports.settings import ConnectionSettings

LINGER = 5.0
"""Seconds that a peer gets to answer a close before its connection is dropped."""

_log = logging.getLogger("chat.websocket")
_log.setLevel(logging.WARNING)  # websockets tells every close at INFO.


def _nowhere(packed: bytes) -> None:
    """Where frames go while they may not be written."""


def _host(transport: asyncio.Transport) -> str | None:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else None


def _only(headers: Headers, name: str) -> str | None:
    """The value of a header; several are as one that nobody allows."""
    return ", ".join(headers.get_all(name)) if name in headers else None


def _select(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Ours where it is offered; a client that offers none gets the same without the name."""
    if not offered:
        return None
    for name in protocol.available_subprotocols or ():
        if name in offered:
            return name
    raise NegotiationError(f"this server speaks {', '.join(protocol.available_subprotocols or ())}")


def ends_with_frame(data: bytes) -> bool:
    """Whether a client's bytes, which begin with a frame, end with one."""
    at, size = 0, len(data)
    while at < size:
        if size - at < 2:
            return False
        length = data[at + 1] & 0x7F
        head = 6
        if length >= 126:
            wide = 2 if length == 126 else 8
            length = int.from_bytes(data[at + 2 : at + 2 + wide], "big")
            head += wide
        at += head + length
    return at == size


class WebSocketFraming:
    """Packs frames into text messages, serialised once: the bytes are the same for every socket."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._opcode = Opcode.BINARY if codec.binary else Opcode.TEXT

    def pack(self, frames: Sequence[bytes]) -> bytes:
        return b"".join(Frame(self._opcode, message).serialize(mask=False) for message in messages(self._codec, frames))


class WebSocketTransport:
    """What uvicorn's ``ws=`` calls to make a protocol for each connection that asks to be upgraded.

    ``origins``: whose pages may open it. A message above ``limits.frame_bytes`` is closed with 1009.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        origins: Origins | None = None,
        path: str = PATH,
        admission: Admission | None = None,
    ) -> None:
        self.gateway = gateway
        self.admission = admission or Admission(ConnectionSettings(), Peers(), Refusals())
        self.origins = origins or Origins()
        self.path = path
        self.framing = WebSocketFraming(gateway.codec)
        self.subprotocols = [Subprotocol(gateway.codec.subprotocol)]

    def __call__(self, *, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> WebSocketConnection:
        return WebSocketConnection(self, server_state.connections)

    def protocol(self) -> Protocol:
        """What reads frames after the handshake."""
        return Protocol(Side.SERVER, max_size=self.gateway.limits.frame_bytes, logger=_log)

    def refusal(self, request: Request, protocol: ServerProtocol) -> Response | None:
        """The HTTP answer to a handshake that cannot be accepted; None: it can."""
        path, _, query = request.path.partition("?")
        headers = request.headers
        if path != self.path:
            return protocol.reject(http.HTTPStatus.NOT_FOUND, f"There is no WebSocket here; it is at {self.path}\n")
        if names_token(query):
            text = "A token in the query string is not accepted; say it in hello\n"
            return protocol.reject(http.HTTPStatus.BAD_REQUEST, text)
        refused = self.origins.refusal(_only(headers, "Origin"), _only(headers, "Host"))
        if refused is not None:
            return protocol.reject(http.HTTPStatus.FORBIDDEN, f"{refused}\n")
        return None


class WebSocketConnection(asyncio.Protocol):
    """One connection: a `Wire` for the gateway, a protocol for the loop."""

    __slots__ = (
        "_at_boundary", "_began", "_connections", "_counted", "_host", "_lingering", "_link", "_open", "_parts",
        "_protocol", "_text", "_transport", "_with", "address", "framing", "write",
    )  # fmt: skip

    user: str | None = None
    """No application is around a server that listens by itself."""

    def __init__(self, transport: WebSocketTransport, connections: set[Any]) -> None:
        self._with = transport
        self.framing = transport.framing
        self.write: Callable[[bytes], None] = _nowhere
        """The transport's own while the connection is open: a call less for each delivery."""
        self.address: str | None = None
        """The client's address, as `Peers` tells it from the handshake; None: this machine itself."""
        self._host: str | None = None  # The other end of the connection: the client, or its proxy.
        self._counted: str | None = None  # The address of a client behind a proxy.
        self._connections = connections
        self._protocol: Protocol = ServerProtocol(
            subprotocols=transport.subprotocols,
            select_subprotocol=_select,
            max_size=transport.gateway.limits.frame_bytes,
            logger=_log,
        )
        self._transport: asyncio.Transport | None = None
        self._link: ClientConnection | None = None
        self._open = False  # Whether frames may be written.
        self._parts: list[bytes] | None = None  # Of a fragmented message.
        self._began = 0.0  # When it did.
        self._text = True
        self._at_boundary = False  # Whether what the protocol was fed so far ends with a frame.
        self._lingering: asyncio.TimerHandle | None = None

    # --- called by the loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        self._host = _host(self._transport)
        self._with.admission.enter(self._host)

    def data_received(self, data: bytes) -> None:
        if self._at_boundary:
            data = self._small_messages(data)
            if not data:
                return
            self._at_boundary = ends_with_frame(data)
        protocol = self._protocol
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Frame):
                self._frame(event)
            elif isinstance(event, Request):
                self._handshake(event)
                self._at_boundary = data.find(b"\r\n\r\n") == len(data) - 4
                if self._open and self._at_boundary:
                    self._protocol = protocol = self._with.protocol()  # The former keeps the whole head: 2 KB.
        if protocol.writes:
            self._write_out()
        if protocol.state is not State.OPEN:
            self._lost()

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._protocol.data_to_send()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        self._transport = None
        self._with.admission.leave(self._host)
        self._with.admission.part(self._counted)
        self._lost()

    def pause_writing(self) -> None:
        if self._link is not None:
            self._link.paused()

    def resume_writing(self) -> None:
        if self._link is not None:
            self._link.resumed()

    def shutdown(self) -> None:
        """The server stops (uvicorn calls this): finish what runs, say goodbye."""
        if self._link is not None:
            self._link.retire()
        elif self._transport is not None:
            self._transport.close()

    # --- called by the gateway ---

    def close(self, code: int, reason: str) -> None:
        if self._open and self._protocol.state is State.OPEN:
            self._shut()
            self._protocol.send_close(code, reason.encode()[:120].decode(errors="ignore"))
            self._write_out()
            self._linger()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # --- inside ---

    def _small_messages(self, data: bytes) -> bytes:
        """Take the short whole messages at the beginning (acknowledgements, mostly); returns what is left.

        The protocol needs 4 µs for one of them, which is half of what it costs. Everything else is left to it.
        """
        at, size = 0, len(data)
        while size - at >= 6 and data[at] == 0x81 and 0x80 <= data[at + 1] < 0xFE:
            end = at + data[at + 1] - 0x7A  # 6 bytes of head, and the length without its mask bit
            link = self._link
            if end > size or link is None or self._parts is not None or self._protocol.state is not State.OPEN:
                break
            self._text = True
            self._message(link, apply_mask(data[at + 6 : end], data[at + 2 : at + 6]))
            at = end
        if self._protocol.writes:
            self._write_out()
        return data[at:] if at else data

    def _handshake(self, request: Request) -> None:
        protocol = self._protocol
        assert isinstance(protocol, ServerProtocol)
        headers = [(name.encode(), value.encode()) for name, value in request.headers.raw_items()]
        self.address = self._with.admission.peers.of(self._host, headers).address
        response = self._with.refusal(request, protocol) or self._full(protocol) or protocol.accept(request)
        protocol.send_response(response)
        if protocol.state is State.OPEN:
            self._write_out()
            assert self._transport is not None
            self._open = True
            self.write = self._transport.write
            self._link = self._with.gateway.connect(self)

    def _full(self, protocol: ServerProtocol) -> Response | None:
        """Whether a client behind a proxy has too many connections; others were counted when they came."""
        if self.address == self._with.admission.peers.of(self._host, ()).address:
            return None
        self._counted = self.address
        refused = self._with.admission.join(self.address)
        if refused is None:
            return None
        response = protocol.reject(http.HTTPStatus(refused.status), f"{refused.message}\n")
        response.headers["Retry-After"] = str(math.ceil(refused.retry_after or 1.0))
        return response

    def _frame(self, frame: Frame) -> None:
        link = self._link
        if link is None:
            return
        opcode = frame.opcode
        if self._parts is not None and self._too_long(frame):
            return
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._text = opcode is Opcode.TEXT
            if frame.fin:
                self._message(link, bytes(frame.data))
            else:
                self._parts = [bytes(frame.data)]
                self._began = time.monotonic()
        elif opcode is Opcode.CONT:
            assert self._parts is not None
            # A part is no sign of life: only a whole message is.
            self._parts.append(bytes(frame.data))
            if frame.fin:
                message, self._parts = b"".join(self._parts), None
                self._message(link, message)
        elif opcode is not Opcode.CLOSE:
            link.heard()

    def _too_long(self, frame: Frame) -> bool:
        """Whether the fragmented message that is under way has too many parts or takes too long: then it is the end.

        Looked at with every frame, since pings between the parts keep a connection alive.
        """
        assert self._parts is not None
        limits, refusals = self._with.admission.settings, self._with.admission.refusals
        if frame.opcode is Opcode.CONT and len(self._parts) >= limits.message_fragments:
            refusals.note("fragments", peer=self.address)
            code, text = 1009, f"a message has at most {limits.message_fragments} fragments"
        elif time.monotonic() - self._began > limits.message_timeout:
            refusals.note("message_timeout", peer=self.address)
            code, text = 1008, f"a message must be complete within {limits.message_timeout:g} s"
        else:
            return False
        self._parts = None
        if self._protocol.state is State.OPEN:
            self._protocol.fail(code, text)
        self._lost()
        return True

    def _message(self, link: ClientConnection, data: bytes) -> None:
        if self._text is self._with.gateway.codec.binary:
            link.refuse(Invalid("A message must be text." if not self._text else "A message must be binary."))
            return
        if not data.isascii() and self._text:
            try:
                data.decode()
            except UnicodeDecodeError as error:
                if self._protocol.state is State.OPEN:
                    self._protocol.fail(1007, f"invalid UTF-8 at position {error.start}")
                self._lost()
                return
        link.received(data)

    def _lost(self) -> None:
        """Nothing of the client's will be taken any more."""
        self._shut()
        link, self._link = self._link, None
        if link is not None:
            link.lost()

    def _shut(self) -> None:
        """From here on the gateway writes nothing."""
        self._open = False
        self.write = _nowhere

    def _write_out(self) -> None:
        """Write what the protocol has to say; where it says the end, close our side and wait for the other's."""
        transport = self._transport
        writes = self._protocol.data_to_send()
        if transport is None or transport.is_closing():
            return
        transport.write(b"".join(writes))
        if b"" in writes:
            self._shut()  # Nothing may follow the end, whatever has led to it.
            if transport.can_write_eof():
                transport.write_eof()
            self._linger()

    def _linger(self) -> None:
        if self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(LINGER, self.abort)
        if self._transport is not None and not self._transport.is_reading():
            self.resume_reading()
