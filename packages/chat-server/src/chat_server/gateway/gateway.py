"""The gateway: its parts put together, and what it offers transports and neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from chat_common.protocol.frames import Note
from chat_common.protocol.session import State
from chat_common.records import Push

from chat_server.contributions import RoomContributions
from chat_server.gateway.acknowledgements import Acknowledgements
from chat_server.gateway.calls import Calls
from chat_server.gateway.check import Check
from chat_server.gateway.connection import ClientConnection, Desk
from chat_server.gateway.deliveries import Deliveries
from chat_server.gateway.encoding import Encoding
from chat_server.gateway.ephemeral import EphemeralEvents
from chat_server.gateway.handshake import Handshake
from chat_server.gateway.neighbours import Neighbours
from chat_server.gateway.node import Node
from chat_server.gateway.presence import Presence, presence_command
from chat_server.gateway.pushing import Pushing
from chat_server.gateway.routes import Routes
from chat_server.gateway.session import Session
from chat_server.gateway.sessions import Sessions
from chat_server.gateway.streams import Streams
from chat_server.gateway.tasks import Tasks
from chat_server.gateway.token_watch import TokenWatch
from chat_server.gateway.wire import Wire
from chat_server.services import CloseSessions, Delivery, EphemeralNote, Movements, SessionPush


class Gateway:
    """The sessions of this node. An async context: inside it beats and checks run; on leaving, it drains.

    All methods are called from the event loop's thread. The parts stand from the ground up: each holds only what
    stands above it in `__init__`.
    """

    def __init__(
        self,
        node: Node,
        neighbours: Neighbours,
        *,
        report_acks: bool = False,
        drop: Callable[[Delivery], bool] | None = None,
    ) -> None:
        settings, clock, near = node.settings, node.clock, neighbours
        self.node = node
        self.listeners: dict[str, Callable[[Push], None]] = {}
        """Who in this process is told instead of a client, by the name of the session."""
        self.codec, self.limits = node.codec, node.limits
        self.tasks = tasks = Tasks()
        self.sessions = sessions = Sessions(node)
        encoding = Encoding(node.codec, near.gate)
        self._pushing = pushing = Pushing(encoding, sessions.index, sessions.flush, clock.monotonic)
        self.routes = Routes(node, near.directory, sessions.index)
        self.acknowledgements = Acknowledgements(near.push, report_acks)
        self.streams = streams = Streams(near.im, sessions.index, pushing, tasks, settings.streams)
        self.token_watch = TokenWatch(near.auth, near.renew_before, sessions, pushing, tasks, clock)
        self.presence = Presence(node, near.im, near.router, sessions, tasks)
        self.check = Check(near.im, sessions, streams, clock.wall_ms, settings.grace)
        epoch = lambda: sessions.epoch  # noqa: E731
        self.deliveries = Deliveries(streams, pushing, self.presence, sessions.index, epoch, drop)
        self.calls = Calls(near.commands, near.gate, sessions, tasks, settings.max_open_calls)
        self.ephemeral = EphemeralEvents(near.gate, near.im, near.router, node.codec, tasks)
        self.handshake = Handshake(node, near, sessions, tasks, self.routes, streams, self.token_watch, self.presence)
        self._desk = Desk(
            node, sessions, self.handshake, self.calls, self.ephemeral, self.acknowledgements, near.gate.charge
        )
        sessions.over += [self.presence.forget, self._give_back]
        sessions.left.append(self.presence.left)

    async def __aenter__(self) -> Self:
        await self.tasks.__aenter__()
        settings = self.node.settings
        self.tasks.every(
            max(settings.heartbeat - settings.grace, settings.heartbeat / 2), self.check.run, sooner=self.check.wanted
        )
        self.tasks.every(settings.lease / 3, self.routes.renew, sooner=self.routes.wanted)
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

    async def tell(self, request: SessionPush) -> bool:
        if (listener := self.listeners.get(request.session)) is not None:
            listener(request.push)
            return True
        found = self.sessions.index.get(request.session)
        if found is None or found.state is State.CLOSED:
            return False
        self._pushing.one(found, request.push)
        return True

    async def note(self, request: EphemeralNote) -> None:
        encoded: bytes | None = None
        for session in self.sessions.index.of(request.users):
            if session.connection is not None and session.connection.paused_at is None:
                encoded = encoded or self.node.codec.encode(Note(request.event, request.data))
                session.note(encoded)
                self.sessions.flush.touch(session)

    async def close(self, request: CloseSessions) -> int:
        return self.sessions.close(request)

    async def online(self, users: Sequence[str]) -> Sequence[str]:
        return [user for user in users if self.sessions.index.online(user)]

    async def moved(self, movements: Movements) -> None:
        self.presence.moved(movements)

    async def missed(self, count: int) -> None:
        self.check.hurry()

    # --- for the composition root ---

    def contributions(self) -> RoomContributions:
        """The gateway's one command: it belongs to a session's connection."""
        return RoomContributions(room="gateway", commands=[presence_command(self.presence.watch)])

    # --- the end, and numbers ---

    async def drain(self) -> None:
        """Stop: new connections are turned away, running calls get to end, everybody hears `bye` 4000, in portions."""
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
            self.tasks.spawn(self.routes.unregister(self.routes.of(session)))
            self.presence.left(session.user)
