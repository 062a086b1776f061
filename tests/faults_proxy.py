"""A TCP proxy that misbehaves as told: latency, a bottleneck, a black hole, resets, a server that is not there.

    async with FaultsProxy(("127.0.0.1", 8080)) as proxy:
        connect(proxy.port)
        proxy.latency = 0.2          # seconds each way, for what is sent from now on
        proxy.rate = 10_000          # bytes a second each way and connection; None: as fast as it goes
        proxy.black_hole = True      # connections are accepted and stay open; nothing passes any more
        proxy.swallow()              # the same for what is open now; new connections pass
        proxy.reset()                # every open connection ends with RST
        await proxy.down()           # new connections are refused, open ones reset
        await proxy.up()

What a black hole has swallowed is lost for ever, as it is when a phone leaves the network: a connection that was
open during one is not healed by its end, only new ones are.
"""

import asyncio
import contextlib
import socket
import struct
from types import TracebackType

CHUNK = 65536


class FaultsProxy:
    """Forwards to ``target`` (which may be changed) from a port of its own on 127.0.0.1."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.latency = 0.0
        self.rate: float | None = None
        self.black_hole = False
        self.port = 0
        self.accepted = 0
        self.cut = 0
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> "FaultsProxy":
        await self.up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.down()

    @property
    def open(self) -> int:
        """How many connections are open now."""
        return len(self._links)

    async def up(self) -> None:
        """Accepts connections, on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Refuses new connections and resets the open ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()
        await self._empty.wait()

    def reset(self) -> None:
        """Ends every open connection with RST, on both sides."""
        for link in list(self._links):
            self.cut += 1
            link.reset()

    def swallow(self) -> None:
        """Makes every open connection a black hole for the rest of its life; new ones pass."""
        for link in self._links:
            self.cut += 1
            link.swallowed = True

    async def arrival(self, after: int) -> None:
        """Waits until more than ``after`` connections have been accepted."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.accepted > after)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the target; OSError when it takes none."""
        return await asyncio.open_connection(*self.target)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._arrived:
            self.accepted += 1
            self._arrived.notify_all()
        if self.black_hole:
            link = _Link(self, (reader, writer), None)
        else:
            try:
                link = _Link(self, (reader, writer), await self._reach())
            except OSError:
                _abort(writer)
                return
        self._links.add(link)
        self._empty.clear()
        try:
            await link.run()
        finally:
            self._links.discard(link)
            if not self._links:
                self._empty.set()


class _Link:
    """One connection from a client to the target; without a target it swallows all."""

    def __init__(
        self,
        proxy: FaultsProxy,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None,
    ) -> None:
        self.proxy = proxy
        self.near = near
        self.far = far
        self.swallowed = far is None
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        self._task = asyncio.current_task()
        ways = (
            [self._swallow()]
            if self.far is None
            else [self._pass(self.near, self.far), self._pass(self.far, self.near)]
        )
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for end in (self.near, self.far):
                if end is not None:
                    end[1].close()

    def reset(self) -> None:
        for end in (self.near, self.far):
            if end is not None:
                _abort(end[1])
        if self._task is not None:
            self._task.cancel()

    async def _swallow(self) -> None:
        while await self.near[0].read(CHUNK):
            pass

    async def _pass(
        self,
        source: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        sink: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=256)

        async def deliver() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if self.proxy.black_hole:
                    self.swallowed = True
                if self.swallowed:
                    continue
                if not data:
                    return
                if self.proxy.rate is not None:
                    await asyncio.sleep(len(data) / self.proxy.rate)
                sink[1].write(data)
                await sink[1].drain()

        async def receive() -> None:
            while True:
                data = await source[0].read(CHUNK)
                await queue.put((loop.time() + self.proxy.latency, data))
                if not data:
                    return

        with contextlib.suppress(OSError):
            await asyncio.gather(receive(), deliver())


def _abort(writer: asyncio.StreamWriter) -> None:
    """Closes with RST instead of FIN."""
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
