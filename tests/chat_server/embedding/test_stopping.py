"""Clients hear that the host stops before the host closes their connections."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from chat_server import Server

HELLO = json.dumps({"op": "hello", "device": {"id": "tab", "platform": "web"}})


class Socket:
    """A WebSocket as an ASGI server hands it to the application."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[Any] = asyncio.Queue()
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.came.put_nowait({"type": "websocket.connect"})
        self.came.put_nowait({"type": "websocket.receive", "text": HELLO})

    async def welcomed(self, chat: Server) -> asyncio.Task[None]:
        scope = {"type": "websocket", "path": "/ws", "headers": [], "query_string": b""}
        running = asyncio.create_task(chat.app(scope, self.came.get, self.sent.put))
        assert (await self.sent.get())["type"] == "websocket.accept"
        assert json.loads((await self.sent.get())["text"])["op"] == "welcome"
        return running

    async def goodbye(self) -> tuple[int, int]:
        """The code of the `bye`, and that of the close behind it."""
        async with asyncio.timeout(5):
            said, closed = await self.sent.get(), await self.sent.get()
        return json.loads(said["text"])["code"], closed["code"]


@pytest.fixture
def host() -> Iterator[list[int]]:
    """A host that handles SIGTERM: the numbers that it was told."""
    told: list[int] = []
    former = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    yield told
    signal.signal(signal.SIGTERM, former)


async def test_a_signal_reaches_the_host_when_the_clients_have_heard(host: list[int], chat: Server) -> None:
    socket = Socket()
    running = await socket.welcomed(chat)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await socket.goodbye() == (4000, 4000)
    assert host == []
    await running
    async with asyncio.timeout(5):
        while not host:  # noqa: ASYNC110 - the handler of a signal sets no event
            await asyncio.sleep(0)
    assert (host, chat.stopping) == ([signal.SIGTERM], True)
    os.kill(os.getpid(), signal.SIGTERM)
    assert host == [signal.SIGTERM] * 2


async def test_a_connection_that_the_asgi_server_cancels_says_goodbye(chat: Server) -> None:
    socket = Socket()
    running = await socket.welcomed(chat)
    running.cancel()
    assert await socket.goodbye() == (4000, 4000)
    with pytest.raises(asyncio.CancelledError):
        await running
