"""Routes deliveries to the nodes on which their receivers sit: one call a node for many messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import structlog
from attrs import evolve
from chat_common.errors import ChatError, Unavailable
from chat_common.ports.directory import Directory, Route

from chat_server.router.remote import RemoteNode
from chat_server.services import CloseSessions, Delivery, EphemeralNote, GatewayService, Movements, SessionPush

log = structlog.get_logger("chat.router")
T = TypeVar("T")

DIRECTORY_PATIENCE = 0.3
"""Seconds after which a directory that does not answer is passed over: messages need not wait for it."""
BLIND = 1.0
"""Seconds for which it is not asked again then."""


class Router:
    """Implements `RouterService`. This node's gateway gets everything and knows who is here; the other nodes get what
    the directory names them for. While that does not answer, or has lost its memory, they get everything as well.
    """

    def __init__(self, node: str, directory: Directory) -> None:
        self._node = node
        self._directory = directory
        self._own: GatewayService | None = None
        self._peers: dict[str, RemoteNode] = {}
        self._blind_until = 0.0
        self._forgetful = False

    def attach(self, gateway: GatewayService) -> None:
        """This node's gateway."""
        self._own = gateway

    def meet(self, peers: Mapping[str, GatewayService]) -> None:
        """These are the other nodes now; those that were known stay as they are.
        The others are told that they may have missed something: what was delivered before went to nobody there."""
        for name in self._peers.keys() - peers.keys():
            self._peers.pop(name).leave()
        for name, gateway in peers.items():
            if name not in self._peers:
                self._peers[name] = RemoteNode(name, gateway)
                self._peers[name].greet()

    def forgets(self, forgetful: bool) -> None:
        """Whether the directory has lost its memory a moment ago: then who is not in it may be anywhere."""
        self._forgetful = forgetful

    @property
    def peers(self) -> Collection[str]:
        """The other nodes, by name."""
        return self._peers.keys()

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """To every node that holds a receiver; hot conversations to all nodes: each knows who of them it holds.

        The directory is read after what is delivered was committed: whoever registers later reads that commit. Raises
        nothing when a node or the directory is away: what that loses is found by the check.
        """
        deliveries = [part for delivery in deliveries for part in _with_partings(delivery)]
        if self._own is not None:
            await self._own.deliver(deliveries)
        if not self._peers:
            return
        wanted: set[str] = set()
        for delivery in deliveries:
            wanted.update(delivery.users or delivery.members or ())
        nodes = await self._nodes_of(wanted)
        sending = []
        for peer in list(self._peers.values()):
            batch: Sequence[Delivery] = deliveries
            if nodes is not None:
                here = nodes.get(peer.name, set())
                batch = [part for delivery in deliveries if (part := _part(delivery, here)) is not None]
            if batch:
                sending.append(peer.deliver(batch))
        if sending:
            await asyncio.gather(*sending)

    async def note(self, request: EphemeralNote) -> None:
        """To this node and those that the directory names; what does not reach a node is dropped."""
        if self._own is not None:
            await self._own.note(request)
        if not self._peers:
            return
        nodes = await self._nodes_of(request.users)
        targets: list[tuple[RemoteNode, EphemeralNote]] = []
        for peer in self._peers.values():
            users = request.users if nodes is None else sorted(nodes.get(peer.name, ()))
            if users and peer.answers:
                targets.append((peer, evolve(request, users=users)))
        await asyncio.gather(*(_answer(peer, peer.gateway.note(note), None) for peer, note in targets))

    async def close(self, request: CloseSessions) -> int:
        """On this node and all others: a session that is entering is in no directory yet."""
        ended = await self._own.close(request) if self._own is not None else 0
        return ended + sum(await self._ask_all(lambda peer: peer.gateway.close(request), 0))

    async def tell(self, request: SessionPush) -> bool:
        if self._own is not None and request.node == self._node:
            return await self._own.tell(request)
        if (peer := self._peers.get(request.node)) is not None:
            return await _answer(peer, peer.gateway.tell(request), False)
        # Rooms apart from the gateways do not know at which of them a session is.
        return any(await self._ask_all(lambda peer: peer.gateway.tell(request), False))

    async def elsewhere(self, users: Sequence[str]) -> Sequence[str]:
        """The nodes are asked that have a route of them: a session that waits to be resumed has one too. A node that
        does not answer is believed to have them still."""
        if not self._peers:
            return []
        found: set[str] = set()
        asked: dict[str, list[str]] = {}
        for user, routes in (await self._directory.routes(users)).items():
            for node in {route.node for route in routes}:
                asked.setdefault(node, []).append(user)

        async def ask(peer: RemoteNode, held: Sequence[str]) -> None:
            found.update(await _answer(peer, peer.gateway.online(held), held))

        await asyncio.gather(*(ask(peer, asked[name]) for name, peer in self._peers.items() if name in asked))
        return sorted(found)

    async def moved(self, movements: Movements) -> None:
        if self._peers:
            await self._ask_all(lambda peer: peer.gateway.moved(movements), None)

    async def online(self, users: Sequence[str]) -> Sequence[tuple[str, str]]:
        """(user, device) of those who sit somewhere."""
        routes = await self._directory.routes(users)
        return [(route.user, route.device) for found in routes.values() for route in found]

    async def _ask_all(self, question: Callable[[RemoteNode], Awaitable[T]], otherwise: T) -> Sequence[T]:
        """The answers of all other nodes that are not known to be silent."""
        peers = [peer for peer in self._peers.values() if peer.answers]
        return await asyncio.gather(*(_answer(peer, question(peer), otherwise) for peer in peers))

    async def _nodes_of(self, users: Iterable[str]) -> Mapping[str, set[str]] | None:
        """Node → those of these users who have a route there; None: nobody knows."""
        loop = asyncio.get_running_loop()
        if self._forgetful or loop.time() < self._blind_until:
            return None
        try:
            async with asyncio.timeout(DIRECTORY_PATIENCE):
                routes: Mapping[str, Sequence[Route]] = await self._directory.routes(users)
        except (Unavailable, TimeoutError) as error:
            self._blind_until = loop.time() + BLIND
            log.warning("directory_away", reason=str(error) or "it does not answer")
            return None
        nodes: dict[str, set[str]] = {}
        for user, found in routes.items():
            for route in found:
                nodes.setdefault(route.node, set()).add(user)
        return nodes


async def _answer(peer: RemoteNode, asking: Awaitable[T], otherwise: T) -> T:
    try:
        return await asking
    except ChatError as error:
        log.warning("node_not_asked", node=peer.name, reason=error.message)
        return otherwise


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
