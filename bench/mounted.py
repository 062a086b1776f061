"""A FastAPI host as an embedder has it: the chat mounted, the host's own uvicorn, no ``ws=`` of ours.

python bench/mounted.py DATA_FOLDER
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from chat_server import Server
from fastapi import FastAPI


def application(data: str) -> FastAPI:
    """The host: its lifespan holds the chat."""
    chat = Server(settings={"server": {"data": data}, "limits": {"points": 0}})

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with chat:
            app.mount("/", chat.app)
            yield

    return FastAPI(lifespan=lifespan)


async def main(data: str) -> None:
    """Serves on a free port, which it prints as soon as it accepts connections."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = uvicorn.Server(uvicorn.Config(application(data), log_level="warning"))
    serving = asyncio.create_task(server.serve([listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
        await asyncio.sleep(0.01)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await serving


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
