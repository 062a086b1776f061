"""Routes deliveries to the nodes on which their receivers sit: one call a node for many messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chat_common.ports.database import Database
from chat_common.ports.directory import Directory
from chat_common.records import Push
from sqlalchemy import Connection, bindparam, delete, exists, select

from chat_server.services import CloseSessions, Delivery, GatewayService
from chat_server.store.schema import push_due
from chat_server.store.statements import CompiledStatement


class Router:
    """Implements `RouterService`. ``gateways``: how to reach each node's gateway, the own one first."""

    def __init__(self, node: str, directory: Directory, database: Database) -> None:
        self._node = node
        self._directory = directory
        self._database = database
        self._gateways: dict[str, GatewayService] = {}

    def attach(self, node: str, gateway: GatewayService) -> None:
        """A node has come; its gateway takes deliveries from now on."""
        self._gateways[node] = gateway

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """To every node that holds a receiver; hot rooms to all nodes, each of which knows who of the room it holds."""
        wanted = {user for delivery in deliveries if delivery.users is not None for user in delivery.users}
        routes = await self._directory.routes(wanted)
        nodes: dict[str, set[str]] = {}
        for user, found in routes.items():
            for route in found:
                nodes.setdefault(route.node, set()).add(user)
        for node, gateway in self._gateways.items():
            here = nodes.get(node, set())
            batch = []
            for delivery in deliveries:
                if delivery.users is None:
                    batch.append(delivery)
                    continue
                users = {user: number for user, number in delivery.users.items() if user in here}
                if users:
                    batch.append(Delivery(delivery.pushes, users, delivery.conversation, delivery.first, delivery.last))
            if batch:
                await gateway.deliver(batch)

    async def acknowledged(self, seqs: Mapping[str, Mapping[str, int]]) -> None:
        """Drop offline pushes that a device has taken in by now."""
        if await self._database.read(lambda connection: _OWED.all(connection)[0][0]):
            await self._database.change(lambda connection: drop_acknowledged(connection, seqs))

    async def note(self, users: Sequence[str], event: str, data: Any) -> None:
        for gateway in self._gateways.values():
            await gateway.note(users, event, data)

    async def close(self, request: CloseSessions) -> int:
        return sum([await gateway.close(request) for gateway in self._gateways.values()])

    async def tell(self, session: str, node: str, push: Push) -> bool:
        gateway = self._gateways.get(node)
        return gateway is not None and await gateway.tell(session, push)

    async def online(self, users: Sequence[str]) -> Sequence[tuple[str, str]]:
        """(user, device) of those who sit somewhere."""
        routes = await self._directory.routes(users)
        return [(route.user, route.device) for found in routes.values() for route in found]


_OWED = CompiledStatement(select(exists(select(push_due.c.user))))
_DROP = CompiledStatement(
    delete(push_due).where(
        push_due.c.user == bindparam("who_"),
        push_due.c.conversation == bindparam("name_"),
        push_due.c.last_seq <= bindparam("seq_"),
    ),
    "who_",
    "name_",
    "seq_",
)


def drop_acknowledged(connection: Connection, seqs: Mapping[str, Mapping[str, int]]) -> None:
    """Several users' acknowledgements at once."""
    _DROP.many(connection, sorted((user, name, seq) for user, own in seqs.items() for name, seq in own.items()))
