"""Equal nodes of one service: servers in the test's own process, on one PostgreSQL and one Redis, calling over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from chat_common.client import dev_login
from chat_server.server import Server

from tests.chat_server.house import Store
from tests.faults_proxy import FaultsProxy
from tests.services.process import free_port
from tests.support.raw import RawClient, raw
from tests.support.serving import Settings, in_process
from tests.support.waiting import until


@frozen
class Node:
    """One server; ``way`` is how the other nodes reach it."""

    name: str
    server: Server
    url: str
    way: FaultsProxy

    def knows(self, others: Sequence[str]) -> bool:
        """Whether it delivers to exactly these other nodes."""
        return set(self.server.rooms.router.peers) == set(others)


@define
class Cluster:
    """What its nodes share; ``settings`` are given to each of them."""

    store: Store
    redis: str
    folder: Path
    settings: Settings = field(factory=dict)
    nodes: dict[str, Node] = field(factory=dict)

    @asynccontextmanager
    async def node(self, name: str, *, plugins: Sequence[object] = ()) -> AsyncIterator[Node]:
        """A node that has met all that run."""
        port = free_port()
        async with FaultsProxy(("127.0.0.1", port)) as way:
            settings: dict[str, dict[str, Any]] = {
                **self.store.settings,
                "directory": {"redis": {"url": self.redis}},
                "cache": {"redis": {"url": self.redis}},
                "rpc": {"grpc": {"address": f"127.0.0.1:{port}", "advertise": f"127.0.0.1:{way.port}"}},
                "gateway": {"heartbeat": 20.0, **self.settings.get("gateway", {})},
                **{name: values for name, values in self.settings.items() if name != "gateway"},
            }
            settings["ports"] = {**settings["ports"], "directory": "redis", "cache": "redis", "rpc": "grpc"}
            folder = self.folder / name
            settings["server"] = {"data": str(folder), "node": name}
            async with in_process(folder, settings=settings, plugins=plugins) as (server, url):
                node = self.nodes[name] = Node(name, server, url, way)
                await self.settled()
                try:
                    yield node
                finally:
                    del self.nodes[name]

    async def settled(self) -> None:
        """Every node knows all others."""
        names = set(self.nodes)
        for node in self.nodes.values():
            await until(lambda node=node: node.knows(sorted(names - {node.name})), what=f"{node.name} knows the others")

    @asynccontextmanager
    async def of(self, *names: str) -> AsyncIterator[list[Node]]:
        """Nodes of these names."""
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.node(name)) for name in names]


@frozen
class Person:
    """A user with one connection, which does nothing by itself."""

    user: str
    token: str
    device: str
    client: RawClient


@asynccontextmanager
async def person(node: Node, name: str, device: str = "") -> AsyncIterator[Person]:
    """Log in at this node, and connect to it."""
    device = device or f"{name}-at-{node.name}"
    login = await dev_login(node.url, name, device)
    async with raw(node.url) as client:
        await client.hello(login.token, device)
        yield Person(login.user.user, login.token, device, client)


async def group(owner: Person, *others: Person) -> str:
    """A conversation of all of them."""
    made = await owner.client.call("group.create", {"name": "all", "members": [other.user for other in others]})
    return str(made["conversation"])
