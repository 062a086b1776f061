"""How a server becomes one node among others, where there may be any."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from importlib import metadata

import structlog
from attrs import field, frozen
from chat_common.assembly import Assembly
from chat_common.ports.directory import Directory, NodeRecord
from chat_common.ports.outbox import Relay
from chat_common.ports.rpc import Rpc
from chat_common.settings import SetupError

from chat_server.gateway import Gateway
from chat_server.metrics import Metrics
from chat_server.nodes import Nodes, Place
from chat_server.remote import GatewayEndpoint, MetricsEndpoint, Served
from chat_server.router.service import Router
from chat_server.services import GatewayService, MetricsService

log = structlog.get_logger("chat.server")


@frozen(kw_only=True)
class Here:
    """What this process has of its own. ``gateway`` None: no sockets; ``relay`` None: no rooms. ``shared``: its
    directory is one that other processes see. ``started``: ms since 1970. ``stopping``: whether it drains."""

    node: str
    boot: str = field(factory=lambda: secrets.token_hex(8))
    started: int
    roles: frozenset[str]
    rpc: Rpc
    router: Router
    gateway: Gateway | None
    relay: Relay | None
    shared: bool
    stopping: Callable[[], bool]
    metrics: Callable[[], Metrics]

    @property
    def alone(self) -> bool:
        """Whether no other process can know of this one."""
        return not self.shared and not self.rpc.address

    def record(self) -> NodeRecord:
        """This node as it is now."""
        load = dict(self.gateway.stats()) if self.gateway is not None else {}
        if self.relay is not None:
            load["outbox_in_flight"] = sum(self.relay.in_flight().values())
        release, address = metadata.version("interesting-chat-server"), self.rpc.address
        return NodeRecord(self.node, self.boot, self.started, address, self.roles, release, load, self.stopping())


async def join(stack: AsyncExitStack, assembly: Assembly, here: Here, serving: Sequence[Served]) -> Nodes | None:
    """Answer others, and meet them, until the stack is left; None: this server is alone. ``serving``: what of the rooms
    is answered."""
    rpc = here.rpc
    directory: Directory = await assembly.get(Directory)  # type: ignore[type-abstract]
    if not rpc.address:
        if here.shared:
            log.warning("no_other_node_reaches_this_one", hint='[ports] rpc = "grpc"')
        return None
    gateway = here.gateway
    if gateway is not None:
        numbers = Served("metrics", MetricsService, MetricsEndpoint(here.metrics))
        serving = [*serving, Served("gateway", GatewayService, GatewayEndpoint(gateway)), numbers]
    if not here.shared:
        if gateway is not None:
            raise SetupError(
                "Nodes that call each other need a directory that all of them share: set [ports] directory and cache "
                'to "redis", or rpc to "direct" for a server that is alone.'
            )
        from chat_server.rpc.directory import SERVICE, DirectoryEndpoint, DirectoryService

        # The gateways of this machine ask this process who sits where.
        serving = [*serving, Served(SERVICE, DirectoryService, DirectoryEndpoint(directory))]
    place = Place(
        name=here.node,
        directory=directory,
        rpc=rpc,
        roles=here.roles,
        serving=serving,
        relay=here.relay,
        keeps=not here.shared,
        meet=here.router.meet,
        forgot=here.router.forgets,
        register=(lambda: None) if gateway is None else gateway.routes.wanted.set,
        record=here.record,
    )
    nodes = Nodes(place)
    await stack.enter_async_context(nodes.running())
    return nodes
