"""An ASGI application behind a real uvicorn on a free port, inside the test's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from attrs import frozen


@frozen
class AsgiServer:
    """A bound port; nothing answers before `run`."""

    socket: socket.socket

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    @contextlib.asynccontextmanager
    async def run(self, app: Any) -> AsyncIterator[None]:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning", ws="none"))
        task = asyncio.create_task(server.serve(sockets=[self.socket]))
        try:
            while not server.started and not task.done():  # noqa: ASYNC110 — uvicorn has a flag, not an event
                await asyncio.sleep(0.01)
            yield
        finally:
            server.should_exit = True
            await task


@contextlib.contextmanager
def serving() -> Iterator[AsgiServer]:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as bound:
        yield AsgiServer(bound)
