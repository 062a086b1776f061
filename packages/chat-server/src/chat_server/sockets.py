"""Makes the gateway of a process: beside its rooms, or apart from them, where it asks for all of them over the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen
from chat_common.assembly import Assembly
from chat_common.clock import Clock
from chat_common.codec import Codec
from chat_common.plugins import Owned
from chat_common.ports.directory import Directory
from chat_common.ports.rpc import Rpc
from chat_common.records import Interceptor

from chat_server.auth.settings import with_preset
from chat_server.contributions import RoomContributions
from chat_server.gateway import Gateway, Neighbours, Node, presence_command, watch_nowhere
from chat_server.pipeline import Commands, Pipeline
from chat_server.refusals import Refusals
from chat_server.remote import NoReplies, RemoteCommands, RemoteIm, asking
from chat_server.rooms import Rooms
from chat_server.router.service import Router
from chat_server.services import AuthService, Delivery, PushService


@frozen
class Sockets:
    """What every gateway is made of. ``section``: the settings; ``drop``: see `Server`."""

    assembly: Assembly
    section: Callable[[str], Any]
    clock: Clock
    codec: Codec
    node: str
    refusals: Refusals
    drop: Callable[[Delivery], bool] | None

    async def beside(self, rooms: Rooms, pipeline: Pipeline, *, report_acks: bool) -> Gateway:
        """In the process of the rooms."""
        commands, directory = Commands(pipeline), await self._directory()
        near = Neighbours(
            rooms.auth, rooms.im, rooms.router, directory, commands, rooms.push, pipeline, self._renew_before
        )
        return self._made(near, rooms.router, report_acks)

    async def apart(self, router: Router, pipeline: Pipeline) -> Gateway:
        """In a process that has no rooms."""
        rpc: Rpc = await self.assembly.get(Rpc)  # type: ignore[type-abstract]
        auth, push = asking(rpc, "auth", AuthService), asking(rpc, "push", PushService)
        commands, directory = RemoteCommands(rpc, pipeline), await self._directory()
        near = Neighbours(auth, RemoteIm(rpc), router, directory, commands, push, pipeline, self._renew_before)
        return self._made(near, router, True)

    def pipeline(self, interceptors: Iterable[Owned[Interceptor]]) -> Pipeline:
        """The pipeline of a process that has no rooms: what stands in the way of frames, and the gateway's command."""
        limits = self.section("limits")
        return Pipeline(
            [],
            interceptors,
            codec=self.codec,
            clock=self.clock,
            replies=NoReplies(),
            limits=limits,
            refusals=self.refusals,
        )

    def _made(self, near: Neighbours, router: Router, report_acks: bool) -> Gateway:
        node = Node(self.section("gateway"), self.clock, self.codec, self.node, refusals=self.refusals)
        gateway = Gateway(node, near, report_acks=report_acks, drop=self.drop)
        router.attach(gateway)
        return gateway

    @property
    def _renew_before(self) -> float:
        seconds: float = with_preset(self.section("auth")).renew_before
        return seconds

    async def _directory(self) -> Directory:
        return await self.assembly.get(Directory)  # type: ignore[type-abstract]


def contributions_of(gateway: Gateway | None) -> RoomContributions:
    """The command of sockets; where there are none it says so."""
    if gateway is not None:
        return gateway.contributions()
    return RoomContributions(room="gateway", commands=[presence_command(watch_nowhere)])
