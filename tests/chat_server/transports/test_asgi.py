"""The same gateway inside somebody else's application and server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets
from chat_server.services import CloseSessions, Delivery
from chat_server.transports.asgi import AsgiTransport
from chat_server.transports.origins import Origins
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.chat_server.gateway.fakes import House, message, until
from tests.chat_server.transports.serving import serving
from tests.support.frames import frames

HELLO = '{"op":"hello","token":"ann","device":{"id":"d1","platform":"test"}}'


@asynccontextmanager
async def host(house: House, **options: Any) -> AsyncIterator[int]:
    """A FastAPI application with the chat mounted at /chat, served by plain uvicorn."""
    app = FastAPI()

    @app.get("/")
    async def root() -> dict[str, bool]:
        return {"host": True}

    app.mount("/chat", AsgiTransport(house.gateway, **options))
    async with serving(app) as (_, port):
        yield port


@asynccontextmanager
async def client(port: int, path: str = "/chat/ws", **options: Any) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws://127.0.0.1:{port}{path}", compression=None, **options) as socket:
        yield socket


async def test_a_session_in_a_mounted_application() -> None:
    async with House() as house, host(house) as port:
        async with client(port, subprotocols=[websockets.Subprotocol("chat.v1.json")]) as socket:
            assert socket.subprotocol == "chat.v1.json"
            await socket.send(HELLO)
            (welcome,) = await frames(socket)
            assert welcome["op"] == "welcome"
            await house.gateway.deliver([Delivery([message("c", seq) for seq in (1, 2)], {"ann": 1}, "c", 1, 2)])
            assert [frame["data"]["seq"] for frame in await frames(socket)] == [1, 2]
            await socket.send('[{"op":"ack","received":2},{"op":"ping"}]')
            assert (await frames(socket))[0]["op"] == "pong"
            await socket.send(b"{}")
            assert (await frames(socket))[0]["code"] == "invalid"
        await until(lambda: not house.gateway.sessions.connections)
        async with client(port) as socket:
            again = json.dumps({**json.loads(HELLO), "resume": {"session": welcome["session"], "received": 2}})
            await socket.send(again)
            assert (await frames(socket))[0]["resumed"]


@pytest.mark.parametrize(
    ("path", "origin", "subprotocol", "allowed"),
    [
        ("/chat/ws", "https://evil.example", None, ()),
        ("/chat/ws", "http://127.0.0.1", None, ("https://chat.example",)),
        ("/chat/other", None, None, ()),
        ("/chat/ws?token=x", None, None, ()),
        ("/chat/ws", None, "mqtt", ()),
    ],
)
async def test_who_may_not_open_one(path: str, origin: Any, subprotocol: Any, allowed: tuple[str, ...]) -> None:
    async with House() as house, host(house, origins=Origins(allowed)) as port:
        with pytest.raises(InvalidStatus):
            async with client(port, path, origin=origin, subprotocols=[subprotocol] if subprotocol else None):
                pass
        assert not house.gateway.sessions.connections


async def test_the_bye_comes_before_the_close() -> None:
    async with House() as house, host(house) as port, client(port) as socket:
        await socket.send(HELLO)
        await frames(socket)
        await house.gateway.close(CloseSessions(4409, "kicked", "never", user="ann"))
        assert (await frames(socket))[0]["code"] == 4409
        with pytest.raises(ConnectionClosed):
            await frames(socket)
        assert (socket.close_code, socket.close_reason) == (4409, "kicked")


async def test_a_message_above_the_limit_is_closed_with_1009() -> None:
    async with House() as house, host(house) as port, client(port) as socket:
        await socket.send("x" * 65_537)
        with contextlib.suppress(ConnectionClosed):
            await frames(socket)
        assert socket.close_code == 1009
        await until(lambda: not house.gateway.sessions.connections)


async def test_a_peer_that_reads_nothing_is_paused_and_the_rest_arrives_later() -> None:
    async with House(window=10_000, window_bytes=64 << 20) as house, host(house) as port, client(port) as socket:
        await socket.send(HELLO)
        await frames(socket)
        link = next(iter(house.gateway.sessions.connections))
        seq = 0
        while link.paused_at is None:
            seq += 1
            assert seq < 900, "60 MB are under way, and nobody was told to stop"
            push = message("c", seq)
            push.data["text"] = "x" * 60_000
            await house.gateway.deliver([Delivery([push], {"ann": seq}, "c", seq, seq)])
            await asyncio.sleep(0)
        got = 0
        while got < seq:
            for frame in await frames(socket):
                got += 1
                assert frame["data"]["seq"] == got
        await until(lambda: link.paused_at is None)


async def test_it_serves_websockets_alone() -> None:
    async with House() as house:
        with pytest.raises(RuntimeError, match="not http"):
            await AsgiTransport(house.gateway)({"type": "http"}, None, None)  # type: ignore[arg-type]
