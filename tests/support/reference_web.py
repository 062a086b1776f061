"""The reference server on a real WebSocket, for tests of the asyncio client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chat_common.codec.json import JsonCodec
from chat_common.protocol.frames import BadFrame, Bye
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.support.reference_server import ReferenceConnection, ReferenceServer
from tests.support.waiting import until

codec = JsonCodec()


class ReferenceWeb:
    """Serves a `ReferenceServer`; what it has to say is written after every frame that came."""

    def __init__(self, server: ReferenceServer, port: int) -> None:
        self.server = server
        self.port = port
        self.lines: dict[ServerConnection, ReferenceConnection] = {}
        self.mute = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, socket: ServerConnection) -> None:
        line = self.lines[socket] = self.server.connect()
        try:
            async for message in socket:
                for frame in codec.client_frames(message if isinstance(message, bytes) else message.encode()):
                    assert not isinstance(frame, BadFrame), frame
                    line.receive(frame)
                await self.flush()
        except ConnectionClosed:
            pass
        finally:
            del self.lines[socket]
            line.lose()

    async def flush(self) -> None:
        """Write what the reference server has to say to everybody."""
        for socket, line in list(self.lines.items()):
            frames, line.out = line.out, []
            try:
                if frames and not self.mute:
                    await socket.send(codec.join([codec.encode(frame) for frame in frames]), text=True)
            except ConnectionClosed:
                continue

    async def cut(self) -> None:
        """Break every connection without a word."""
        broken = set(self.lines)
        for socket in broken:
            socket.transport.abort()
        await until(lambda: broken.isdisjoint(self.lines))

    async def end(self, bye: Bye) -> None:
        """Say `bye` to everybody and close."""
        for socket in list(self.lines):
            await socket.send(codec.encode(bye), text=True)
            await socket.close(bye.code)


@asynccontextmanager
async def served(server: ReferenceServer, port: int = 0) -> AsyncIterator[ReferenceWeb]:
    web = ReferenceWeb(server, port)
    listener: Server
    async with serve(web.handle, "127.0.0.1", port, compression=None) as listener:
        web.port = next(iter(listener.sockets)).getsockname()[1]
        yield web
        for socket in list(web.lines):
            socket.transport.abort()
