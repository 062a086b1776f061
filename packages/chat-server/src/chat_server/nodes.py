"""This node among the others: announced in the directory, called and calling through `Rpc`.

A server whose ``[ports] rpc`` is ``direct`` is alone, and nothing of this runs. Any other one says that it is there, is
told who else is, and hands each of them to the router as a `GatewayService` like its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import structlog
from attrs import frozen
from chat_common.errors import ChatError, Unavailable
from chat_common.ports.directory import Directory, NodeRecord, node_changes
from chat_common.ports.outbox import Relay
from chat_common.ports.rpc import Peer, Proxy, Rpc, serve
from chat_common.settings import SetupError

from chat_server.remote import Served
from chat_server.roles import ALL, GATEWAY, missing, services_of
from chat_server.services import GatewayService, MetricsAsked, MetricsService, RelayService

log = structlog.get_logger("chat.nodes")

RELAY = "relay"
LEASE = 6.0
"""Seconds that the record of a node lasts; it is written again after a third of that."""
LOOK = 0.5
"""Seconds between two looks at who is there, and whether the directory has lost its memory."""
REBUILT = 10.0
"""Seconds after such a loss in which the nodes have written their routes again, and absence means nothing."""
LOOK_AFTER = 0.01
"""Seconds in which reports of rows for other nodes are brought together."""
MOST_LOOKS = 100
"""Such reports that are under way at once; while that many are, nodes do not answer, and scan."""
DEADLINE = 2.0
"""Seconds that a call to another node may take."""


@frozen(kw_only=True)
class Place:
    """Where this server stands, and what it does about the others."""

    name: str
    directory: Directory
    rpc: Rpc
    roles: frozenset[str]
    serving: Sequence[Served]
    """What other nodes may ask of this one."""
    relay: Relay | None
    """Where there are rooms."""
    keeps: bool
    """Whether the directory is kept here, so that the others are gateways of this machine, and show nothing by
    themselves."""
    meet: Callable[[Mapping[str, GatewayService]], None]
    """Told of the gateways of all other nodes, whenever they change."""
    forgot: Callable[[bool], None]
    """Told whether the directory has lost its memory in the last `REBUILT` seconds."""
    register: Callable[[], None]
    """Asked to write this node's routes again, now."""
    record: Callable[[], NodeRecord]
    """This node as it is now."""


class Nodes:
    """Use `running` once the gateway can be called; leave it when the gateway has drained."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._gateways: dict[tuple[str, str], GatewayService] = {}
        self._relays: dict[str, RelayService] = {}
        self._reported = 0
        self._looking: set[asyncio.Task[Any]] = set()
        self._age = 0.0
        self.roles: frozenset[str] = place.roles
        """Those that this node and the others run now."""
        self.displaced = False
        """Another process, which began later, has this node's name."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve, announce and look for others while the context is open. `SetupError`: the name is taken."""
        place = self._place
        for each in place.serving:
            serve(place.rpc, each.service, each.protocol, each.instance)
        place.rpc.meet(place.name, {})
        try:
            await self._announce()
        except Unavailable as error:
            log.warning("node_not_announced", reason=error.message)
        if self.displaced:
            raise SetupError(
                f"[server] node: another process runs under the name {place.name!r}. Give each node its own name."
            )
        works: Sequence[Callable[[], Awaitable[None]]] = (self._announcing, self._remembering, self._meeting)
        tasks = [asyncio.create_task(self._for_ever(work), name=work.__name__) for work in works]
        if place.relay is not None:
            place.relay.notify(self._report)
        try:
            yield
        finally:
            if place.relay is not None:
                place.relay.notify(None)
            for task in (*tasks, *self._looking):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(Unavailable):
                await place.directory.depart(place.record())
            place.meet({})

    async def metrics(self) -> Mapping[str, str]:
        """The numbers of the gateways of which this node keeps the directory; who does not answer has none."""
        if not self._place.keeps:
            return {}

        async def of(name: str) -> tuple[str, str]:
            service = cast(MetricsService, self._proxy("metrics", MetricsService, name))
            try:
                return name, await service.text(MetricsAsked())
            except ChatError:
                return name, ""

        return dict(await asyncio.gather(*(of(name) for name, _ in self._gateways)))

    async def ready(self) -> None:
        """`Unavailable` when another process has taken the name of this one."""
        if self.displaced:
            raise Unavailable("Another process, which was started later, has the name of this node.")

    async def complete(self) -> None:
        """`Unavailable` while nobody runs one of the roles."""
        if not self.roles.issuperset(ALL):
            raise Unavailable(f"No node that runs {missing(self.roles)} is known.", retry_after=1.0)

    async def met(self, patience: float) -> None:
        """Wait until all roles are run by somebody; `SetupError` after so many seconds says what to start."""
        until = asyncio.get_running_loop().time() + patience
        while not self.roles.issuperset(ALL):
            if asyncio.get_running_loop().time() > until:
                raise SetupError(
                    f"[server] roles: nobody runs {missing(self.roles)}. Add them here, or start a node that has them,"
                    " on the same directory."
                )
            await asyncio.sleep(LOOK / 10)

    async def _announce(self) -> None:
        here = await self._place.directory.announce(self._place.record(), lease=LEASE)
        if not here and not self.displaced:
            log.error("node_displaced", node=self._place.name)
        self.displaced = not here

    async def _announcing(self) -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            with contextlib.suppress(Unavailable):  # Said by `_remembering` already.
                await self._announce()

    async def _remembering(self) -> None:
        """Notice a directory that was restarted or emptied: its age falls."""
        away = False
        while True:
            try:
                age = await self._place.directory.known_since()
                if age < self._age:
                    log.warning("directory_lost_its_memory", node=self._place.name)
                    await self._announce()
                    self._place.register()
                elif away:
                    self._place.register()
                self._age, away = age, False
                self._place.forgot(age < REBUILT)
            except Unavailable as error:
                if not away:
                    log.warning("directory_away", reason=error.message)
                away = True
            await asyncio.sleep(LOOK)

    async def _meeting(self) -> None:
        async for found in node_changes(self._place.directory, every=LOOK):
            self.meet(found)

    def meet(self, found: Mapping[str, NodeRecord]) -> None:
        """These nodes are announced now."""
        place = self._place
        others = {name: record for name, record in found.items() if name != place.name}
        for record in others.values():
            if not record.address:
                log.warning("node_without_address", node=record.node, hint='[ports] rpc = "grpc" on that node')
        reached = {name: record for name, record in others.items() if record.address}
        peers = {name: Peer(each.address, services_of(each.roles)) for name, each in reached.items()}
        place.rpc.meet(place.name, peers)
        known, self._gateways = self._gateways, {}
        for name, record in reached.items():
            if GATEWAY not in record.roles:
                continue
            key = (name, record.boot)
            self._gateways[key] = known.get(key) or cast(GatewayService, self._proxy(GATEWAY, GatewayService, name))
        self._relays = {
            name: cast(RelayService, self._proxy(RELAY, RelayService, name))
            for name, peer in peers.items()
            if RELAY in peer.services
        }
        self.roles = place.roles.union(*(record.roles for record in reached.values()))
        log.info("nodes", here=place.name, others=sorted(reached))
        place.meet({name: gateway for (name, _), gateway in self._gateways.items()})

    def _proxy(self, service: str, protocol: type, name: str) -> Any:
        # All of it may be repeated: deliveries count by rev, the rest says how things are.
        return Proxy(self._place.rpc, service, protocol, deadline=DEADLINE, node=name, repeat=True)

    def _report(self) -> None:
        """Rows were committed here that another node carries: it is told, with those of the next moment."""
        if not self._reported and self._relays:
            asyncio.get_running_loop().call_later(LOOK_AFTER, self._let_look)
        self._reported += bool(self._relays)

    def _let_look(self) -> None:
        rows, self._reported = self._reported, 0
        if len(self._looking) > MOST_LOOKS:
            return
        for relay in self._relays.values():
            task = asyncio.get_running_loop().create_task(self._look(relay, rows))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    @staticmethod
    async def _look(relay: RelayService, rows: int) -> None:
        with contextlib.suppress(ChatError):  # Its scans find them.
            await relay.look(rows)

    @staticmethod
    async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception:
                log.exception("nodes_failed")
            await asyncio.sleep(LOOK)
