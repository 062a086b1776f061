"""The server as an object: put together from plugins and settings, started and stopped as an async context.

::

    async with Server(settings={"server": {"data": "data"}}, plugins=[my_plugin]) as server:
        ada = await server.ensure_user("ada")
        await server.call("submit", {"conversation": room, "kind": "text", "body": {"text": "hi"}}, user=ada.user)

`chat-server` runs this same object behind uvicorn; an application mounts `Server.app`, see the page on embedding.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import structlog
from attrs import evolve
from chat_common.assembly import Assembly
from chat_common.clock import Clock, SystemClock
from chat_common.codec.json import JsonCodec
from chat_common.plugins import Plugins
from chat_common.ports.broker import Broker
from chat_common.ports.cache import Cache
from chat_common.ports.database import Database
from chat_common.ports.directory import Directory
from chat_common.ports.files import FileRights
from chat_common.ports.identity import IdentityProvider, Logins
from chat_common.ports.objects import DataFolder, ObjectTelemetry
from chat_common.ports.outbox import DeadLetters, Outbox, Relay
from chat_common.ports.push import PushProvider
from chat_common.ports.rpc import Rpc
from chat_common.records import Push
from chat_common.settings import Settings
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from chat_server import logs
from chat_server.auth.public_address import PublicAddress
from chat_server.auth.settings import AuthSettings
from chat_server.background import background, if_it_can
from chat_server.canary import canary_of
from chat_server.contributions import RoomContributions, records, with_rooms
from chat_server.embedding import doors
from chat_server.embedding.door import Door
from chat_server.embedding.home import Held, Home
from chat_server.embedding.identify import Identify, Vouched
from chat_server.embedding.in_process import InProcess, Inside
from chat_server.embedding.stopping import told_to_stop
from chat_server.embedding.sync import SyncServer
from chat_server.files.plugin import attachments, files_of, store_origin
from chat_server.files.rights import SqlFileRights
from chat_server.files.telemetry import FileTelemetry
from chat_server.gateway import Gateway
from chat_server.http.app import gateway_app, http_app
from chat_server.im.kinds import Kinds
from chat_server.joining import Here, join
from chat_server.metrics import Metrics
from chat_server.moderation.moderation import Moderation
from chat_server.names.handles import NameRules
from chat_server.node_list import NodeList
from chat_server.nodes import Nodes
from chat_server.outbox_metrics import OutboxMetrics
from chat_server.pipeline import Observers, Pipeline
from chat_server.readiness import Readiness, bring_up_tables
from chat_server.refusals import Refusals
from chat_server.remote import BEHIND, costs_of_elsewhere, relay_service, room_services
from chat_server.roles import GATEWAY, ROOMS, roles_of
from chat_server.rooms import RoomPorts, Rooms, RoomSettings, build
from chat_server.router.service import Router
from chat_server.services import Delivery
from chat_server.settings import ServerSettings
from chat_server.sockets import Sockets, contributions_of
from chat_server.store.backup import data_lock
from chat_server.store.leases import Lease, Leases
from chat_server.store.replies import SqlReplies
from chat_server.transports.asgi import AsgiTransport
from chat_server.transports.origins import Origins
from chat_server.transports.peers import Peers

log = structlog.get_logger("chat.server")

TRANSACTION = "interesting-chat-transaction"


class Server(InProcess):
    """One process of the server, which may be all of it.

    ``settings``: nested as the TOML file is; ``config``: a TOML file; the environment (``CHAT__…``) comes last.
    ``plugins``: modules or objects with hooks, beside the installed ones; or all there are, put together already.
    ``drop``: asked for each delivery to the gateway, true loses it: for tests that plant losses. ``identify``: says for
    a request or WebSocket without a token which person of the application's it is, see
    `chat_server.embedding.identify.Identify`.

    Opened by ``async with``, by the lifespan of an application, or by `start`, any number of times one after the other.
    """

    database: Database
    rooms: Rooms
    gateway: Gateway
    router: Router
    nodes: Nodes | None

    def __init__(
        self,
        *,
        settings: Mapping[str, Any] | None = None,
        config: Path | None = None,
        environ: Mapping[str, str] | None = None,
        plugins: Iterable[object] | Plugins = (),
        clock: Clock | None = None,
        drop: Callable[[Delivery], bool] | None = None,
        identify: Identify | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.plugins = plugins if isinstance(plugins, Plugins) else Plugins.load(plugins)
        self.plugins.require(Relay, TRANSACTION)
        self.settings = Settings.read(self.plugins.sections(), mapping=settings, toml=config, environ=environ)
        section = self.settings.section
        self.refusals = Refusals(self.clock)
        self.moderation = Moderation(section("words"), section("webhooks"), self.clock, self.refusals)
        self._drop = drop
        self._identify = identify
        self._vouched: Vouched | None = None
        self._stack: AsyncExitStack | None = None
        self._observers: Observers | None = None
        self.stopping = False
        """From here on `/readyz` answers 503. Set by who stops it, before clients are sent away."""
        self.standalone = False
        """Whether it listens by itself (`run`); else an application is around it, which decides who comes in."""
        self.home = Home()
        self._held = Held(lambda: self)
        self.app = Door(self.home, lambda: self)  # to be mounted at import time: 503 while the server is closed
        self.sync = SyncServer(self, lambda: self)  # for other threads

    @property
    def runs_rooms(self) -> bool:
        """Whether this process has the rooms and the database. Without them `rooms` and `database` are not there."""
        return ROOMS[0] in self.roles

    @property
    def runs_sockets(self) -> bool:
        """Whether clients connect to this process. Otherwise `gateway` is not there."""
        return GATEWAY in self.roles

    # --- start and stop -------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self.home.enter()
        try:
            logs.into_the_host()
            async with AsyncExitStack() as stack:
                await self._open(stack)
                if not self.standalone:
                    stack.enter_context(told_to_stop(self._drain))
                self._stack = stack.pop_all()
        except BaseException:
            self.home.leave()
            raise
        self.app.open(self.site)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping = True
        stack, self._stack = self._stack, None
        try:
            if stack is not None:
                await stack.__aexit__(kind, error, trace)
        finally:
            self.app.close()
            self.inside = None
            self.home.leave()

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """For applications that know ASGI lifespans: ``FastAPI(lifespan=chat.lifespan)``. Drains at the end."""
        async with self:
            yield

    async def start(self) -> None:
        """Open the server unless it is open, for an ASGI server that runs no lifespan: call it at each request. It
        stays open until `stop`, or until the process ends."""
        await self._held.start()

    async def stop(self) -> None:
        """Close what `start` has opened."""
        await self._held.stop()

    def section(self, name: str) -> Any:
        """A section of the settings, as this server goes by it: inside an application some doors are closed."""
        return self.settings.section(name) if self.standalone else doors.section_of(self.settings, name)

    async def _open(self, stack: AsyncExitStack) -> None:
        section, self.stopping = self.section, False
        server: ServerSettings = section("server")
        self.node = server.node or f"node-{secrets.token_hex(4)}"
        self._started, ports = self.clock.wall_ms(), section("ports")
        self.roles = roles_of(server.roles, getattr(ports, "rpc", None) or "direct")
        self.assembly = assembly = await stack.enter_async_context(
            Assembly(self.plugins, self.settings, clock=self.clock)
        )
        assembly.provide(ServerSettings, server)
        self.peers = Peers(server.trusted_proxies)
        self.origins = Origins(
            server.allowed_origins, public_url=server.public_url, hosts=server.hosts, refusals=self.refusals
        )
        self.public_address = PublicAddress(server.public_url, server.host, server.port)
        assembly.provide(PublicAddress, self.public_address)
        assembly.provide(NameRules, section("users").rules)
        assembly.provide(AuthSettings, section("auth"))
        assembly.provide(DataFolder, DataFolder(Path(server.data)))
        self._file_telemetry = FileTelemetry()
        assembly.provide(ObjectTelemetry, self._file_telemetry)  # type: ignore[type-abstract]
        assembly.provide(FileRights, SqlFileRights())  # type: ignore[type-abstract]
        self.codec = JsonCodec()
        sockets = Sockets(assembly, section, self.clock, self.codec, self.node, self.refusals, self._drop)
        doors.check(self.settings, identifies=self._identify is not None, has_rooms=self.runs_rooms)
        if not self.runs_rooms:
            await self._open_gateway(stack, sockets)
            return
        if getattr(ports, "database", None) in (None, "sqlite"):
            stack.enter_context(data_lock(Path(server.data)))
        self.database = await assembly.get(Database)  # type: ignore[type-abstract]
        await bring_up_tables(self.database, records(self.plugins.tables))
        # One file of SQLite has one server, as its lock has just shown.
        self.leases = None if self.database.dialect == "sqlite" else Leases(self.database, self.clock, self.node)
        providers = await assembly.all(PushProvider)  # type: ignore[type-abstract]
        self.rooms = rooms = await build(await self._ports(), RoomSettings.read(section), self._observe)
        self.router = rooms.router
        self._vouched = Vouched(self._identify, rooms.people) if self._identify is not None else None
        assembly.provide(Kinds, rooms.kinds)
        assembly.provide(Logins, rooms.auth.logins)  # type: ignore[type-abstract]
        plugged = self.plugins.contributions(assembly.context)
        self.pipeline = Pipeline(
            [],
            [*plugged.interceptors, *self.moderation.interceptors()],
            codec=self.codec,
            clock=self.clock,
            replies=SqlReplies(self.database, self.clock),
            limits=section("limits"),
            refusals=self.refusals,
            role_of=rooms.admin.users.role_of,
        )
        self.inside = Inside(self.pipeline, rooms.people, rooms.auth.issue_token)
        self._observers = Observers(plugged.observers)
        stack.push_async_callback(self._observers.close)
        if self.runs_sockets:
            self.gateway = await sockets.beside(rooms, self.pipeline, report_acks=bool(providers))
        relay: Relay = await assembly.get(Relay)  # type: ignore[type-abstract]
        letters: DeadLetters = await assembly.get(DeadLetters)  # type: ignore[type-abstract]
        here = await self._here(relay)
        self.canary = await canary_of(assembly, section("canary"), here)
        self.contributions = with_rooms(
            plugged,
            [
                *rooms.contributions(),
                contributions_of(here.gateway),
                *self.moderation.contributions(rooms.executor),
                (await NodeList.of(assembly, here.alone, here.record)).contributions(),
                self.canary.contributions(),
                RoomContributions(room="leases", tasks=self.leases.tasks() if self.leases is not None else ()),
            ],
        )
        stack.push_async_callback(self.moderation.close)
        self.pipeline.register(self.contributions.commands)
        stack.push_async_callback(if_it_can, rooms.fanout.save)
        await stack.enter_async_context(
            relay.running(records(self.contributions.consumers), records(self.contributions.ensured))
        )
        if self.leases is not None:
            await self.leases.renew()
            stack.push_async_callback(self.leases.give_back)  # when the work under them has ended
        await stack.enter_async_context(background(self.contributions, self.assembly, self.leases))
        answered = room_services(rooms.auth, rooms.im, rooms.push, self.pipeline, self.codec)
        self.nodes = await join(stack, assembly, here, [*answered, relay_service(relay)])
        if self.runs_sockets:
            await stack.enter_async_context(self.gateway)
        await rooms.sweeper.sweep()
        self.metrics = self._metrics(OutboxMetrics(relay, letters, self.clock))
        broker: Broker = await assembly.get(Broker)  # type: ignore[type-abstract]
        self.site = self._site(await store_origin(assembly), Readiness(server, self.database, broker, self.nodes))

    async def _open_gateway(self, stack: AsyncExitStack, sockets: Sockets) -> None:
        """No database, no tasks and commands of plugins, only what stands in the way of frames."""
        plugged = self.plugins.contributions(self.assembly.context)
        self.pipeline = sockets.pipeline(plugged.interceptors)
        self.router = Router(self.node, await self.assembly.get(Directory))  # type: ignore[type-abstract]
        self.gateway = await sockets.apart(self.router, self.pipeline)
        self.contributions = with_rooms(evolve(plugged, **BEHIND), [self.gateway.contributions()])
        self.pipeline.register(self.contributions.commands)
        here = await self._here(None)
        self.nodes = nodes = cast(Nodes, await join(stack, self.assembly, here, []))  # `roles_of` has seen to that.
        await nodes.met(self.section("server").role_patience)
        await stack.enter_async_context(costs_of_elsewhere(here.rpc, self.pipeline))
        await stack.enter_async_context(self.gateway)
        self.metrics = self._metrics(None)
        self.site = gateway_app(
            sockets=self._ws(),
            metrics=self.metrics,
            checks={"node": nodes.ready, "roles": nodes.complete},
            settings=self.section("http"),
            peers=self.peers,
            stopping=lambda: self.stopping,
        )

    async def _here(self, relay: Relay | None) -> Here:
        gateway = self.gateway if self.runs_sockets else None
        return Here(
            node=self.node,
            boot=secrets.token_hex(8) if gateway is None else gateway.node.boot,
            started=self._started,
            roles=self.roles,
            rpc=await self.assembly.get(Rpc),  # type: ignore[type-abstract]
            router=self.router,
            gateway=gateway,
            relay=relay,
            shared=getattr(self.section("ports"), "directory", None) not in (None, "memory"),
            stopping=lambda: self.stopping,
            metrics=lambda: self.metrics,
        )

    async def _ports(self) -> RoomPorts:
        get, every = self.assembly.get, self.assembly.all
        logins = self.standalone or not doors.is_closed(self.settings)
        return RoomPorts(
            database=self.database,
            outbox=await get(Outbox),  # type: ignore[type-abstract]
            directory=await get(Directory),  # type: ignore[type-abstract]
            cache=await get(Cache),  # type: ignore[type-abstract]
            clock=self.clock,
            node=self.node,
            kinds={owned.record.name: owned.record for owned in self.plugins.kinds},
            push_providers=await every(PushProvider),  # type: ignore[type-abstract]
            identity_providers=await every(IdentityProvider) if logins else {},  # type: ignore[type-abstract]
            public_address=self.public_address,
            attachments=await attachments(self.assembly),
            files=lambda: files_of(self.assembly),
            items=[owned.record for owned in self.plugins.items],
            # The pipeline is made after the rooms, from their commands.
            screen=lambda caller, said: self.pipeline.screen(caller, said),
            lease=self.leases.of if self.leases is not None else Lease,
            refusals=self.refusals,
        )

    def _site(self, store: str | None, readiness: Readiness) -> Starlette:
        return http_app(
            pipeline=self.pipeline,
            auth=self.rooms.auth,
            codec=self.codec,
            metrics=self.metrics,
            checks=readiness.checks(),
            origins=self.origins,
            settings=self.section("http"),
            stores=[store] if store else [],
            peers=self.peers,
            body_timeout=self.settings.section("connections").body_timeout,
            stopping=lambda: self.stopping,
            alarm=lambda: self.canary.alarm,
            public_url=self.public_address.public,
            vouched=self._vouched,
            # Our own server hands sockets to a faster transport before they come here (`cli.serve`).
            routes=[
                *([self._ws()] if self.runs_sockets else []),
                *records(self.contributions.routes),
            ],
        )

    def _ws(self) -> WebSocketRoute:
        return WebSocketRoute("/ws", AsgiTransport(self.gateway, origins=self.origins, vouched=self._vouched))

    def _metrics(self, outbox: OutboxMetrics | None) -> Metrics:
        metrics = Metrics(self.node)
        metrics.elsewhere = self.nodes.metrics if self.nodes is not None else None
        metrics.commands(self.pipeline.commands)
        if self.runs_sockets:
            metrics.gauges(self.gateway.stats)
        if outbox is not None:
            metrics.ask_first(outbox.ask)
            for source in (outbox.source, self._file_telemetry.source, self.rooms.push.numbers.source):
                metrics.collect(source)
            metrics.gauges(self.canary.numbers)
        metrics.collect(self.refusals.source)
        return metrics

    async def _drain(self) -> None:
        self.stopping = True
        if self.runs_sockets:
            await self.gateway.drain()

    def _observe(self, event: str, data: Push) -> None:
        if self._observers is not None:
            self._observers.tell("message_stored" if data.event == "message" else f"{data.event}_changed", data.data)
