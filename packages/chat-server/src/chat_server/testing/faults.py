"""Lines between clients and server inside the process, and what goes wrong on them when a test says so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from attrs import define, field
from chat_common.client import ChatClient, Line, LineClosed
from chat_common.clock import Clock
from chat_common.codec import Codec

from chat_server.gateway import ClientConnection, Gateway
from chat_server.services import Delivery
from chat_server.transports.framing import messages


class _Framing:
    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def pack(self, frames: Sequence[bytes]) -> list[bytes]:
        return list(messages(self._codec, frames))


class MemoryLine:
    """A client's `Line` to the gateway of the same process."""

    def __init__(self, gateway: Gateway, faults: Faults) -> None:
        self._inbox: asyncio.Queue[bytes | LineClosed] = asyncio.Queue()
        self._over = False
        self._wire = _ServerEnd(self, gateway.codec, faults)
        self._connection: ClientConnection = gateway.connect(self._wire)

    async def receive(self) -> bytes:
        message = await self._inbox.get()
        if isinstance(message, LineClosed):
            raise message
        return message

    async def send(self, message: bytes) -> None:
        await self._wire.reading.wait()
        if self._over:
            raise LineClosed(None)
        self._connection.received(message)

    async def close(self) -> None:
        self.end(None)

    def arrive(self, message: bytes) -> None:
        """A message of the server's has reached the client."""
        if not self._over:
            self._inbox.put_nowait(message)

    def end(self, code: int | None) -> None:
        """Both ends are closed; ``code`` None: it just broke."""
        if not self._over:
            self._over = True
            self._wire.reading.set()
            self._inbox.put_nowait(LineClosed(code))
            asyncio.get_running_loop().call_soon(self._connection.lost)


class _ServerEnd:
    """The gateway's `Wire` of a line."""

    address: str | None = None
    user: str | None = None

    def __init__(self, line: MemoryLine, codec: Codec, faults: Faults) -> None:
        self.framing = _Framing(codec)
        self.reading = asyncio.Event()
        self.reading.set()
        self._line, self._faults = line, faults

    def write(self, packed: list[bytes]) -> None:
        for message in packed:
            self._faults.carry(self._line, message)

    def close(self, code: int, reason: str) -> None:
        self._line.end(code)

    def abort(self) -> None:
        self._line.end(None)

    def pause_reading(self) -> None:
        self.reading.clear()

    def resume_reading(self) -> None:
        self.reading.set()


@define(eq=False)
class Faults:
    """What is lost, late or cut. A new one, in which nothing is wrong, for each test."""

    clock: Clock
    lines: dict[ChatClient, MemoryLine] = field(factory=dict)
    _losing: int = 0
    _late: float = 0.0
    _away: set[ChatClient] = field(factory=set)
    _held: list[tuple[float, MemoryLine, bytes]] = field(factory=list)

    def drop(self, count: int = 1) -> None:
        """Lose the next ``count`` deliveries of messages and changes on their way to the clients, as a node does that
        fails at that moment. Clients find out at their next heartbeat."""
        self._losing += count

    def delay(self, seconds: float) -> None:
        """Hold what the server says back for so long, on the held clock; 0: no longer, and what waits arrives."""
        self._late = seconds
        if not seconds:
            self.arrived(float("inf"))

    @property
    def waiting(self) -> int:
        """Messages that `delay` holds back at this moment."""
        return len(self._held)

    def cut(self, client: ChatClient) -> None:
        """Break the client's connection. It comes back by itself, and misses nothing."""
        line = self.lines.get(client)
        if line is not None:
            line.end(None)

    @contextlib.contextmanager
    def offline(self, client: ChatClient) -> Iterator[None]:
        """Cut the client off, and let it come back at the end of the block."""
        self._away.add(client)
        self.cut(client)
        try:
            yield
        finally:
            self._away.discard(client)

    # --- asked by the server and the lines ---

    def loses(self, delivery: Delivery) -> bool:
        """Whether this delivery is lost."""
        if self._losing and delivery.pushes:
            self._losing -= 1
            return True
        return False

    def opened(self, client: ChatClient, gateway: Gateway) -> Line:
        """A new line for this client; `ConnectionError` while it is offline."""
        if client in self._away:
            raise ConnectionError("the test has taken this client offline")
        line = self.lines[client] = MemoryLine(gateway, self)
        return line

    def carry(self, line: MemoryLine, message: bytes) -> None:
        """Bring a message of the server's to the client, now or later."""
        if self._late or self._held:
            self._held.append((self.clock.monotonic() + self._late, line, message))
        else:
            line.arrive(message)

    def arrived(self, now: float) -> None:
        """Let arrive what was held back until ``now``."""
        due = [each for each in self._held if each[0] <= now]
        self._held = [each for each in self._held if each[0] > now]
        for _, line, message in due:
            line.arrive(message)
