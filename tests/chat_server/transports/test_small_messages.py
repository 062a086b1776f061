"""The short cut for small messages takes and says exactly what the protocol alone would."""

from __future__ import annotations

from typing import Any

from chat_common.codec.json import JsonCodec
from chat_common.errors import ChatError
from chat_server.transports.websocket import WebSocketConnection, WebSocketTransport, ends_with_frame
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State

HEAD = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Recorder:
    """Gateway and link and socket in one: keeps what was said to it."""

    class limits:
        frame_bytes = 300

    def __init__(self) -> None:
        self.codec = JsonCodec()
        self.told: list[Any] = []

    def connect(self, wire: Any) -> Recorder:
        return self

    def received(self, data: bytes) -> None:
        self.told.append(data)

    def refuse(self, error: ChatError) -> None:
        self.told.append(error.message)

    def heard(self) -> None:
        pass

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.7", 4711)

    def lost(self) -> None:
        self.told.append("lost")

    def write(self, data: bytes) -> None:
        if data:
            self.told.append(("written", data))

    def write_eof(self) -> None:
        self.told.append("eof")

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return True


class Connection(WebSocketConnection):
    def _linger(self) -> None:
        pass  # There is no loop.


def connected(*, short: bool) -> tuple[Connection, Recorder]:
    recorder = Recorder()
    transport: Any = WebSocketTransport(recorder)  # type: ignore[arg-type]
    connection = Connection(transport, set())
    connection.connection_made(recorder)  # type: ignore[arg-type]
    connection.data_received(HEAD)
    recorder.told.clear()
    assert connection._at_boundary
    connection._at_boundary = short
    return connection, recorder


def masked(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return bytes(Frame(opcode, data, fin).serialize(mask=True))


text = st.binary(max_size=140).map(lambda data: masked(Opcode.TEXT, data)) | st.text(max_size=130).map(
    lambda data: masked(Opcode.TEXT, data.encode())
)
ack = st.integers(0, 99).map(lambda count: masked(Opcode.TEXT, b'{"op":"ack","received":%d}' % count))
other = st.sampled_from(
    [
        masked(Opcode.PING, b"x"),
        masked(Opcode.PONG, b""),
        masked(Opcode.BINARY, b"{}"),
        masked(Opcode.TEXT, b"a", fin=False),
        masked(Opcode.CONT, b"b", fin=False),
        masked(Opcode.CONT, b"c"),
        masked(Opcode.TEXT, b"x" * 126),
        masked(Opcode.TEXT, b"x" * 301),
        masked(Opcode.TEXT, b""),
        masked(Opcode.CLOSE, b"\x03\xe8"),
        b"\x81\x05hello",
        b"\xc1\x80\0\0\0\0",
        b"\x83\x80\0\0\0\0",
    ]
)


@settings(max_examples=300, deadline=None)
@example([masked(Opcode.TEXT, b"a", fin=False), masked(Opcode.TEXT, b"b")], [])
@example([masked(Opcode.TEXT, b"\xff"), masked(Opcode.TEXT, b"b")], [])
@given(st.lists(ack | ack | text | other, max_size=12), st.lists(st.integers(0, 600), max_size=8))
def test_short_cut_or_not_is_the_same(frames: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frames)
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {len(stream)})
    both = []
    for short in (True, False):
        connection, recorder = connected(short=short)
        start = 0
        for end in ends:
            if start < end:
                connection.data_received(stream[start:end])
            start = end
        protocol = connection._protocol
        written = b"".join(told[1] for told in recorder.told if isinstance(told, tuple))
        heard = [told for told in recorder.told if not isinstance(told, tuple) and told != "eof"]
        if protocol.state is not State.OPEN:
            written = b""  # Of several reasons to end in one read either may be named.
        both.append((heard, written, protocol.state))
    assert both[0] == both[1]


def test_what_came_before_the_close_in_one_read_is_served() -> None:
    for short in (True, False):
        connection, recorder = connected(short=short)
        connection.data_received(masked(Opcode.TEXT, b"last words") + masked(Opcode.CLOSE, b"\x03\xe8"))
        assert recorder.told[0] == b"last words"
        assert recorder.told[-1] == "lost"


def test_the_short_cut_is_taken() -> None:
    connection, recorder = connected(short=True)
    connection._protocol.receive_data = None  # type: ignore[assignment,method-assign]
    connection.data_received(masked(Opcode.TEXT, b"1") + masked(Opcode.TEXT, b"x" * 125))
    assert recorder.told == [b"1", b"x" * 125]
    assert connection._protocol.state is State.OPEN


def test_where_a_frame_ends() -> None:
    for size in (0, 1, 125, 126, 65_535, 65_536):
        frame = masked(Opcode.TEXT, b"x" * size)
        assert ends_with_frame(frame)
        assert ends_with_frame(frame * 2)
        for cut in (1, 2, 5, len(frame) - 1):
            assert not ends_with_frame(frame[:cut]), (size, cut)
            assert not ends_with_frame(frame + frame[:cut]), (size, cut)
