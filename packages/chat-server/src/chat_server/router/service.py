"""Routes deliveries to the nodes on which their receivers sit: one call a node for many messages."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from attrs import evolve
from chat_common.ports.database import Database
from chat_common.ports.directory import Directory
from chat_common.records import Push

from chat_server.services import CloseSessions, Delivery, GatewayService
from chat_server.store import push_due


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
        """To every node that holds a receiver; hot conversations to all nodes: each knows who of them it holds.

        The directory is read after what is delivered was committed: whoever registers later reads that commit.
        """
        deliveries = [part for delivery in deliveries for part in _with_partings(delivery)]
        wanted: set[str] = set()
        for delivery in deliveries:
            wanted.update(delivery.users or delivery.members or ())
        nodes: dict[str, set[str]] = {}
        for user, found in (await self._directory.routes(wanted)).items():
            for route in found:
                nodes.setdefault(route.node, set()).add(user)
        for node, gateway in self._gateways.items():
            here = nodes.get(node, set())
            batch = [part for delivery in deliveries if (part := _part(delivery, here)) is not None]
            if batch:
                await gateway.deliver(batch)

    async def acknowledged(self, seqs: Mapping[str, Mapping[str, int]]) -> None:
        """Drop offline pushes that a device has taken in by now."""
        if await self._database.read(push_due.anything_owed):
            await self._database.change(lambda connection: push_due.drop_acknowledged(connection, seqs))

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


def _part(delivery: Delivery, here: Collection[str]) -> Delivery | None:
    """What of a delivery concerns a node on which these users are; None: nothing."""
    if delivery.members is not None:
        return evolve(delivery, members={user: spans for user, spans in delivery.members.items() if user in here})
    if delivery.users is None:
        return delivery
    users = {user: number for user, number in delivery.users.items() if user in here}
    return evolve(delivery, users=users) if users else None


def _with_partings(delivery: Delivery) -> Sequence[Delivery]:
    """The delivery with the users who part by it, and one without pushes to themselves and to the other ends of their
    contacts: none of these clients need be told anything, but their nodes."""
    parted: list[str] = []
    others: list[str] = []
    for push in delivery.pushes:
        if push.event == "members":
            parted += [one.user.user for one in push.data.members if one.spans and len(one.spans[-1]) > 1]
        elif push.event == "contact" and (push.data.blocked is True or push.data.state != "friends"):
            others.append(push.data.user.user)
    if others:
        parted += delivery.users or ()
    if not parted:
        return [delivery]
    return [evolve(delivery, parted=parted), Delivery([], dict.fromkeys([*parted, *others], 0), parted=parted)]
