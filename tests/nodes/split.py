"""One process with the rooms on SQLite, and gateways apart from it: servers in the test's own process that call each
other over Unix sockets, without Redis."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from chat_server.roles import ROOMS
from chat_server.server import Server
from chat_server.transports.websocket import WebSocketTransport

from tests.chat_server.transports.serving import serving
from tests.support.serving import Settings
from tests.support.waiting import until


@frozen
class Part:
    """One process of the service; ``url``: where clients connect, or HTTP is answered."""

    server: Server
    url: str


@define
class Split:
    """``settings`` are given to each part."""

    folder: Path
    sockets: Path
    settings: Settings = field(factory=dict)

    def _settings(self, name: str, roles: list[str], own: Settings) -> Settings:
        made: dict[str, dict[str, Any]] = {
            "server": {"node": name, "roles": roles, "data": str(self.folder / name)},
            "rpc": {"grpc": {"address": f"unix:{self.sockets / name}"}},
            "auth": {"dev": True},
            "limits": {"points": 0},
            "groups": {"strangers": "allow"},
            "gateway": {"heartbeat": 20.0, "grace": 0.2},
        }
        for more in (self.settings, own):
            for section, values in more.items():
                made[section] = {**made.get(section, {}), **values}
        return made

    @asynccontextmanager
    async def rooms(self, **own: dict[str, Any]) -> AsyncIterator[Part]:
        """The process with the database."""
        settings = self._settings("core", list(ROOMS), {"ports": {"rpc": "grpc"}, **own})
        async with Server(settings=settings, environ={}) as server, serving(server.app, ws="none") as (_, port):
            yield Part(server, f"http://127.0.0.1:{port}")

    @asynccontextmanager
    async def gateway(self, name: str, patience: float = 30.0, **own: dict[str, Any]) -> AsyncIterator[Part]:
        """A process with sockets alone, which the rooms have met."""
        keeper = {"address": f"unix:{self.sockets / 'core'}", "patience": patience}
        more = {"ports": {"rpc": "grpc", "directory": "rpc"}, "directory": {"rpc": keeper}}
        settings = self._settings(name, ["gateway"], {**more, **own})
        async with (
            Server(settings=settings, environ={}) as server,
            serving(server.app, ws=WebSocketTransport(server.gateway), http="httptools") as (_, port),
        ):
            yield Part(server, f"http://127.0.0.1:{port}")

    @asynccontextmanager
    async def of(self, *names: str) -> AsyncIterator[tuple[Part, list[Part]]]:
        """The rooms, and gateways of these names; all know each other."""
        async with AsyncExitStack() as stack:
            core = await stack.enter_async_context(self.rooms())
            parts = [await stack.enter_async_context(self.gateway(name)) for name in names]
            for part in (core, *parts):
                others = set(names) - {part.server.node}
                await until(lambda part=part, others=others: set(part.server.router.peers) == others)
            yield core, parts


@asynccontextmanager
async def split_in(folder: Path, settings: Settings | None = None) -> AsyncIterator[Split]:
    """A folder of its own for the sockets, because their names must be short."""
    sockets = Path(tempfile.mkdtemp(prefix="chat-"))
    try:
        yield Split(folder, sockets, settings or {})
    finally:
        shutil.rmtree(sockets)
