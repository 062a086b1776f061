"""A client that does nothing by itself: it acknowledges, answers and resumes only when told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from chat_common.client.line import LineClosed, WebSocketLine, open_websocket
from chat_common.codec.json import JsonCodec
from chat_common.protocol.frames import (
    Ack,
    Call,
    Device,
    Error,
    Hello,
    Lagged,
    Push,
    Reply,
    Resume,
    ServerFrame,
    Welcome,
)

codec = JsonCodec()
F = TypeVar("F")


class RawClient:
    """One connection. ``frames`` holds what came and was not asked for yet."""

    def __init__(self, line: WebSocketLine) -> None:
        self.line = line
        self.frames: list[ServerFrame] = []
        self.refs = 0
        self.received = 0

    async def send(self, *frames: Any) -> None:
        """One transport message of these frames."""
        await self.line.send(codec.join([codec.encode(frame) for frame in frames]))

    async def next(self, kind: type[F], where: Callable[[F], bool] = lambda frame: True, timeout: float = 10.0) -> F:
        """The next frame of that class; others stay in ``frames``."""
        async with asyncio.timeout(timeout):
            while True:
                for number, frame in enumerate(self.frames):
                    if isinstance(frame, kind) and where(frame):
                        del self.frames[number]
                        return frame
                await self._more()

    async def _more(self) -> None:
        came = codec.server_frames(await self.line.receive())
        self.received += sum(isinstance(frame, Push | Lagged) for frame in came)
        self.frames += came

    async def closed(self, timeout: float = 15.0) -> int | None:
        """The close code, when the server has closed."""
        async with asyncio.timeout(timeout):
            while True:
                try:
                    await self._more()
                except LineClosed as closed:
                    return closed.code

    async def hello(self, token: str | None, device: str = "raw", resume: Resume | None = None) -> Welcome:
        await self.send(Hello(Device(device, "test"), token, resume))
        return await self.next(Welcome)

    async def ack(self, received: int | None = None) -> None:
        """Acknowledge ``received`` pushes, or all that came on this connection."""
        await self.send(Ack(self.received if received is None else received))

    async def call(self, command: str, params: Any = None, ref: str | None = None) -> Any:
        """The result; the `Error` frame where there is one."""
        if ref is None:
            self.refs += 1
            ref = f"raw-{id(self)}-{self.refs}"
        await self.send(Call(ref, command, {} if params is None else params))
        answer = await self.next(Reply | Error, lambda frame: frame.ref == ref)  # type: ignore[arg-type]
        return answer.result if isinstance(answer, Reply) else answer

    async def messages(self, count: int, timeout: float = 10.0) -> list[int]:
        """The seqs of the next ``count`` pushed messages."""
        return [
            (await self.next(Push, lambda frame: frame.event == "message", timeout)).data["seq"] for _ in range(count)
        ]

    def abort(self) -> None:
        """Break the connection without a word."""
        self.line._socket.transport.abort()


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[RawClient]:
    line = await open_websocket(url)
    assert isinstance(line, WebSocketLine)
    client = RawClient(line)
    yield client
    client.abort()
    await line.close()
