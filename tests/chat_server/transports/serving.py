"""A real uvicorn on a free port of 127.0.0.1, for the time of a test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


@asynccontextmanager
async def serving(app: Any, *, port: int = 0, **settings: Any) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """The server and its port."""
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=5, **settings)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", port)) as listener:
        port = listener.getsockname()[1]
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with asyncio.timeout(10):
                while not server.started:  # noqa: ASYNC110 - uvicorn tells it by this flag alone
                    await asyncio.sleep(0.01)
            yield server, port
        finally:
            server.should_exit = True
            await task
