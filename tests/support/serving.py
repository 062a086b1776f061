"""The whole server inside the test's own process: for plugins, planted losses, and a look at its insides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from chat_common.clock import Clock
from chat_server.server import Server
from chat_server.services import Delivery
from chat_server.transports.websocket import WebSocketTransport

from tests.chat_server.transports.serving import serving

Settings = dict[str, dict[str, Any]]


@asynccontextmanager
async def in_process(
    data: Path,
    *,
    plugins: Iterable[object] = (),
    settings: Settings | None = None,
    drop: Callable[[Delivery], bool] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[tuple[Server, str]]:
    """The server, as it stands by itself, and its ``http://HOST:PORT``; names log in without a password."""
    merged: Settings = {"server": {"data": str(data)}, "auth": {"dev": True}, "limits": {"points": 0}}
    merged["groups"] = {"strangers": "allow"}
    for section, values in (settings or {}).items():
        merged[section] = {**merged.get(section, {}), **values}
    server = Server(settings=merged, plugins=plugins, drop=drop, clock=clock)
    server.standalone = True
    async with server, serving(server.app, ws=WebSocketTransport(server.gateway), http="httptools") as (_, port):
        yield server, f"http://127.0.0.1:{port}"
