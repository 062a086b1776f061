"""The services as they cross a wire: what a node answers others, and what stands in a gateway for the rooms elsewhere.

Most need nothing here: a `Proxy` has the methods of the service, and its records cross as they are. What needs more is
data of which only its event says what it is (pushes), and the replies of commands, which cross as the client's JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from attrs import evolve, frozen
from chat_common.codec import Codec
from chat_common.decoding import prepare
from chat_common.errors import ChatError, Unavailable
from chat_common.events import PUSHED
from chat_common.ports.outbox import Relay
from chat_common.ports.rpc import Proxy, Rpc, methods_of
from chat_common.records import Push

from chat_server.metrics import Metrics
from chat_server.pipeline import Commands, Pipeline
from chat_server.services import (
    AuthService,
    CloseSessions,
    CommandCall,
    CommandReply,
    CommandService,
    CostsAsked,
    CostService,
    Delivery,
    EphemeralNote,
    Gap,
    GatewayService,
    ImService,
    LogPage,
    MetricsAsked,
    Movements,
    PushService,
    RelayService,
    SessionPush,
    conversation_of,
)

READ = 5.0
"""Seconds that a gateway waits for what a room reads."""
COMMAND = 15.0
"""Seconds that it waits for a command, and sends it again where the connection broke: long enough for the rooms to be
started again. What changes something is done once, by its ref."""

ASK_AGAIN = 60.0
"""Seconds between two questions what commands cost."""

prepare(*PUSHED.values())


def as_record(push: Push) -> Push:
    """The push with its data as the record of its event; data that is not known here, or that another release has
    changed, stays as it came: to clients it is the same."""
    kind = PUSHED.get(push.event)
    if kind is None:
        return push
    try:
        return evolve(push, data=msgspec.convert(push.data, kind))
    except msgspec.ValidationError:
        return push


# --- answered here ------------------------------------------------------------------------------------------------


class GatewayEndpoint:
    """The `GatewayService` of this node as other nodes call it: what came as plain data is made into records again, so
    that interceptors and streams see the same on every node."""

    def __init__(self, gateway: GatewayService) -> None:
        self._gateway = gateway

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        await self._gateway.deliver(
            [evolve(delivery, pushes=[as_record(push) for push in delivery.pushes]) for delivery in deliveries]
        )

    async def tell(self, request: SessionPush) -> bool:
        return await self._gateway.tell(evolve(request, push=as_record(request.push)))

    async def note(self, request: EphemeralNote) -> None:
        await self._gateway.note(request)

    async def close(self, request: CloseSessions) -> int:
        return await self._gateway.close(request)

    async def online(self, users: Sequence[str]) -> Sequence[str]:
        return await self._gateway.online(users)

    async def moved(self, movements: Movements) -> None:
        await self._gateway.moved(movements)

    async def missed(self, count: int) -> None:
        await self._gateway.missed(count)


@frozen
class RelayEndpoint:
    """The `RelayService` of this node."""

    relay: Relay

    async def look(self, rows: int) -> None:
        self.relay.look()


@frozen
class CommandEndpoint:
    """The `CommandService` of this node: replies leave as JSON."""

    commands: CommandService
    codec: Codec

    async def call(self, call: CommandCall) -> CommandReply:
        reply = await self.commands.call(call)
        return evolve(reply, result=self.codec.encode(reply.result))


@frozen
class CostEndpoint:
    """The `CostService` of this node."""

    pipeline: Pipeline

    async def costs(self, asked: CostsAsked) -> Mapping[str, int]:
        return {name: entry.command.cost for name, entry in self.pipeline.commands.items()}


@frozen
class MetricsEndpoint:
    """The `MetricsService` of this node."""

    metrics: Callable[[], Metrics]

    async def text(self, asked: MetricsAsked) -> str:
        return self.metrics().render()[0].decode()


@frozen
class Served:
    """A service that this node answers: its name, its protocol, and what has its methods."""

    service: str
    protocol: type
    instance: Any


def room_services(
    auth: AuthService, im: ImService, push: PushService, pipeline: Pipeline, codec: Codec
) -> list[Served]:
    """What a node with rooms answers gateways."""
    return [
        Served("auth", AuthService, auth),
        Served("im", ImService, im),
        Served("push", PushService, push),
        Served("commands", CommandService, CommandEndpoint(Commands(pipeline), codec)),
        Served("costs", CostService, CostEndpoint(pipeline)),
    ]


def relay_service(relay: Relay) -> Served:
    """What it answers those who have written rows for it."""
    return Served("relay", RelayService, RelayEndpoint(relay))


# --- asked elsewhere ----------------------------------------------------------------------------------------------


class RemoteCommands:
    """The `CommandService` of a gateway: its own commands run here, all others where the rooms are. Submits go to the
    node that their conversation names, so that those to one conversation are stored together."""

    def __init__(self, rpc: Rpc, own: Pipeline) -> None:
        self._rpc = rpc
        self._own, self._here = own, Commands(own)
        self._method = methods_of(CommandService)["call"]

    async def call(self, call: CommandCall) -> CommandReply:
        """See `CommandService.call`."""
        if call.command in self._own.commands:
            return await self._here.call(call)
        key = (conversation_of(call.params) or None) if call.command == "submit" else None
        reply: CommandReply = await self._rpc.call(
            "commands", "call", call, self._method, deadline=COMMAND, key=key, repeat=True
        )
        return evolve(reply, result=msgspec.Raw(reply.result))


class RemoteIm:
    """The `ImService` of a gateway."""

    def __init__(self, rpc: Rpc) -> None:
        self._asked = proxy = cast(ImService, asking(rpc, "im", ImService))
        self.version, self.arrival, self.heads = proxy.version, proxy.arrival, proxy.heads
        self.present, self.audience, self.acquainted = proxy.present, proxy.audience, proxy.acquainted

    async def gap(self, gap: Gap) -> LogPage:
        """See `ImService.gap`."""
        page = await self._asked.gap(gap)
        return evolve(page, pushes=[as_record(push) for push in page.pushes])


def asking(rpc: Rpc, service: str, protocol: type) -> Any:
    """The service as any node answers it. All of it may be asked twice: readings, tokens that are given again as they
    were, acknowledgements."""
    return Proxy(rpc, service, protocol, deadline=READ, repeat=True)


BEHIND: Mapping[str, Any] = {"commands": (), "tasks": (), "ensured": (), "consumers": (), "routes": (), "observers": ()}
"""What of a plugin's contributions runs where the rooms are."""


class NoReplies:
    """The kept replies of a process whose own commands change nothing."""

    async def get(self, user: str, ref: str) -> tuple[bytes, bytes] | None:
        return None

    async def put(self, user: str, ref: str, digest: bytes, result: bytes) -> None:
        raise Unavailable("This process keeps no replies.")


@asynccontextmanager
async def costs_of_elsewhere(rpc: Rpc, pipeline: Pipeline) -> AsyncIterator[None]:
    """Have the pipeline know what the commands of other nodes cost, and ask again now and then: they may be of another
    release by now."""
    service = cast(CostService, asking(rpc, "costs", CostService))

    async def ask() -> None:
        pipeline.elsewhere = await service.costs(CostsAsked())

    async def again() -> None:
        while True:
            await asyncio.sleep(ASK_AGAIN)
            with contextlib.suppress(ChatError):
                await ask()

    await ask()
    task = asyncio.create_task(again(), name="costs")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
