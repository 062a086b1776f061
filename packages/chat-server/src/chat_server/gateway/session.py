"""A session as the gateway holds it: the protocol's state, whose it is, and the connection it has now."""

from __future__ import annotations

from asyncio import Future

from chat_common.protocol.session import ServerSession, SessionSettings, State
from chat_common.records import Caller
from chat_common.wire import User

from chat_server.gateway.wire import Wire
from chat_server.services import CloseSessions, Identity


class Connection:
    """A wire and the session that it serves now (None: none any more). ``paused_at``: since when it takes nothing."""

    __slots__ = ("paused_at", "session", "wire")

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.session: Session | None = None
        self.paused_at: float | None = None


class Session(ServerSession):
    """``connection`` is None while no connection serves it. A guest has no ``user``."""

    __slots__ = (
        "calls",
        "closing",
        "closing_at",
        "connection",
        "device",
        "dirty",
        "event_running",
        "id",
        "identity",
        "profile",
        "slot",
        "submits",
        "token_due",
        "user",
        "watching",
    )  # fmt: skip

    def __init__(self, session_settings: SessionSettings, now: float) -> None:
        super().__init__(session_settings, now)
        self.id = ""
        self.device = ""
        self.user: str | None = None
        self.profile: User | None = None
        self.identity: Identity | None = None
        self.connection: Connection | None = None
        self.dirty = False  # Stands in the list of the next flush.
        self.calls = 0  # Running ones.
        self.event_running = False  # A note of it is being carried out.
        self.token_due = 0  # Wall clock ms at which its token must be renewed or ends; 0: never.
        self.closing: CloseSessions | None = None  # To be closed as soon as its calls are answered.
        self.closing_at = 0.0
        self.slot = 0  # In the wheel.
        self.submits: dict[str, Future[None]] | None = (
            None  # Conversation → its last submit, where order needs a chain.
        )
        self.watching: frozenset[str] = frozenset()

    @property
    def live(self) -> bool:
        """Whether it is open and has a connection."""
        return self.connection is not None and self.state is State.OPEN

    @property
    def welcomed(self) -> bool:
        """Whether it has been welcomed and is not over."""
        return self.state is State.OPEN or self.state is State.DETACHED

    def caller(self, ref: str, command: str = "") -> Caller:
        """Who asks, and for which command, for the pipeline."""
        token, jti = (self.identity.token, self.identity.jti) if self.identity is not None else (None, None)
        address = self.connection.wire.address if self.connection is not None else None
        return Caller(self.user, ref, self.device or None, self.id or None, token, "ws", address, command, b"", jti)

    def matches(self, request: CloseSessions) -> bool:
        """Whether every field given fits this session."""
        token = self.identity.token if self.identity is not None else None
        return (
            (request.user is None or request.user == self.user)
            and (request.device is None or request.device == self.device)
            and (request.token is None or request.token == token)
            and (request.session is None or request.session == self.id)
            and (request.except_session is None or request.except_session != self.id)
            and (request.except_token is None or request.except_token != token)
        )
