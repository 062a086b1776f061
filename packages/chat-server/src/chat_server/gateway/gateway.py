"""The gateway: its parts put together, and what it offers transports and neighbours."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from chat_common.clock import Clock
from chat_common.codec import Codec
from chat_common.ports.directory import Directory
from chat_common.protocol.frames import Note
from chat_common.protocol.session import State
from chat_common.records import Command, Push
from chat_common.wire import Limits

from chat_server.contributions import RoomContributions
from chat_server.gateway.acknowledgements import Acknowledgements
from chat_server.gateway.calls import Calls
from chat_server.gateway.check import Check
from chat_server.gateway.connection import ClientConnection, Desk
from chat_server.gateway.cursors import Cursors
from chat_server.gateway.deliveries import Deliveries
from chat_server.gateway.encoding import Encoding
from chat_server.gateway.ephemeral import EphemeralEvents
from chat_server.gateway.handshake import Handshake
from chat_server.gateway.node import Node
from chat_server.gateway.presence import Presence, Watched, WatchPresence
from chat_server.gateway.rooms import Rooms
from chat_server.gateway.routes import Routes
from chat_server.gateway.session import Session
from chat_server.gateway.sessions import Sessions
from chat_server.gateway.settings import GatewaySettings
from chat_server.gateway.tasks import Tasks
from chat_server.gateway.token_watch import TokenWatch
from chat_server.gateway.wire import Wire
from chat_server.services import AuthService, CloseSessions, Delivery, Dispatcher, ImService, RouterService


class Gateway:
    """Who is on this wire? An async context: entered, it beats and checks; left, it has drained.

    All methods are called from the event loop's thread. The parts stand from the ground up: each holds only what
    stands above it in `__init__`.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        clock: Clock,
        node: str,
        auth: AuthService,
        im: ImService,
        router: RouterService,
        directory: Directory,
        dispatcher: Dispatcher,
        codec: Codec,
        *,
        boot: str | None = None,
        limits: Limits | None = None,
        report_acks: bool = False,
        drop: Callable[[Delivery], bool] | None = None,
    ) -> None:
        self.settings, self.codec, self.limits = settings, codec, limits or Limits()
        self._now = clock.monotonic
        here = Node(settings, clock, codec, node, boot or secrets.token_hex(8), self.limits)
        self.tasks = tasks = Tasks()
        self.sessions = sessions = Sessions(here)
        self._encoding = encoding = Encoding(codec, dispatcher)
        cursors = Cursors(settings.cursor_cache_size)
        self.routes = Routes(here, directory, sessions.index)
        self.acknowledgements = Acknowledgements(router, report_acks)
        self.rooms = Rooms(im, sessions, cursors, encoding, tasks, clock, settings.backlog)
        self.token_watch = TokenWatch(auth, sessions, encoding, tasks, clock)
        self.presence = Presence(node, im, directory, sessions, codec, tasks)
        self.check = Check(im, sessions, self.rooms, settings.grace)
        self.deliveries = Deliveries(sessions, self.rooms, cursors, encoding, clock, drop)
        self.calls = Calls(dispatcher, sessions, tasks, settings.max_open_calls)
        self.ephemeral = EphemeralEvents(dispatcher, im, router, codec, tasks)
        self.handshake = Handshake(
            here, auth, im, dispatcher, sessions, tasks,
            routes=self.routes, rooms=self.rooms, tokens=self.token_watch, presence=self.presence, check=self.check,
        )  # fmt: skip
        self._desk = Desk(here, sessions, self.handshake, self.calls, self.ephemeral, self.acknowledgements)
        sessions.over += [self.presence.forget, self._give_back]
        sessions.left.append(self.presence.left)

    async def __aenter__(self) -> Self:
        await self.tasks.__aenter__()
        settings = self.settings
        self.tasks.every(max(settings.heartbeat - settings.grace, settings.heartbeat / 2), self.check.run)
        self.tasks.every(settings.lease / 3, self.routes.renew)
        self.tasks.every(settings.heartbeat, self.presence.poll)
        if self.acknowledgements.collector is not None:
            self.tasks.every(1.0, self.acknowledgements.report)
        self.sessions.wheel.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain()
        self.sessions.wheel.stop()
        await self.tasks.__aexit__(None, None, None)

    # --- for transports ---

    def connect(self, wire: Wire) -> ClientConnection:
        """A client has connected. The transport tells the `ClientConnection` what happens from here on."""
        connection = ClientConnection(self._desk, wire)
        self.sessions.connect(connection)
        return connection

    # --- GatewayService ---

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries.take(deliveries)

    async def tell(self, session: str, push: Push) -> bool:
        found = self.sessions.index.get(session)
        if found is None or found.state is State.CLOSED:
            return False
        found.push(self._encoding.chunk([push]), 0, self._now())
        self.sessions.flush.touch(found)
        return True

    async def note(self, users: Sequence[str], event: str, data: Any) -> None:
        encoded: bytes | None = None
        for session in self.sessions.index.of(users):
            if session.connection is not None and session.connection.paused_at is None:
                encoded = encoded or self.codec.encode(Note(event, data))
                session.note(encoded)
                self.sessions.flush.touch(session)

    async def close(self, request: CloseSessions) -> int:
        return self.sessions.close(request)

    async def online(self, users: Sequence[str]) -> Sequence[str]:
        return [user for user in users if self.sessions.index.online(user)]

    # --- for the composition root ---

    def contributions(self) -> RoomContributions:
        """The gateway's one command: it belongs to a session's connection."""
        summary = "Whose coming and going one wants to hear of."
        watch = Command("presence.watch", WatchPresence, Watched, self.presence.watch, summary=summary)
        return RoomContributions(room="gateway", commands=[watch])

    # --- the end, and numbers ---

    async def drain(self) -> None:
        """Stop: new connections are turned away, running calls get to end, everybody hears `bye` 4000."""
        await self.sessions.drain()

    def stats(self) -> Mapping[str, int]:
        """Numbers for metrics."""
        return {
            "connections": len(self.sessions.connections),
            "sessions": len(self.sessions.index),
            "users": len(self.sessions.index.by_user),
            "calls": self.sessions.calls,
        }

    def _give_back(self, session: Session) -> None:
        if session.user is not None:
            self.tasks.spawn(self.routes.leave(self.routes.of(session)))
            self.presence.left(session.user)
