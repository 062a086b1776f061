"""The gateway's end of one connection: what a transport calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chat_common.errors import ChatError
from chat_common.protocol.frames import Ack, Call, ClientNote, Hello

from chat_server.gateway.session import Session
from chat_server.gateway.wire import Wire

if TYPE_CHECKING:
    from chat_server.gateway.gateway import Gateway


class Link:
    """Made by `Gateway.connect`. All methods are called from the event loop's thread and return at once."""

    __slots__ = ("_gateway", "paused_at", "session", "wire")

    def __init__(self, gateway: Gateway, wire: Wire, session: Session) -> None:
        self._gateway = gateway
        self.wire = wire
        self.session: Session | None = session
        self.paused_at: float | None = None

    def received(self, data: bytes) -> None:
        """A whole message of the client, as UTF-8 checked by the transport."""
        gateway = self._gateway
        now = gateway.clock.monotonic()
        for frame in gateway.codec.client_frames(data):
            session = self.session
            if session is None or session.doomed is not None or session.ending is not None:
                return
            if type(frame) is Ack:
                covered = gateway.marks.collector
                if session.acknowledge(frame.received, now, covered) and covered:
                    gateway.marks.take(session, covered)
            else:
                served = session.receive(frame, now)
                if type(served) is Call:
                    gateway.calls.begin(session, served)
                elif type(served) is Hello:
                    gateway.greeting.begin(self, session, served)
                elif type(served) is ClientNote:
                    gateway.notes.begin(session, served)
            if session.pending:
                gateway.flush.touch(session)

    def refuse(self, error: ChatError) -> None:
        """A message that is none, as the transport can tell without reading it: it counts as one."""
        session = self.session
        if session is not None and session.doomed is None and session.ending is None:
            session.heard(self._gateway.clock.monotonic())
            session.refuse(error)
            self._gateway.flush.touch(session)

    def heard(self) -> None:
        """A sign of life that is no message: a WebSocket ping or pong."""
        if self.session is not None:
            self.session.heard(self._gateway.clock.monotonic())

    def paused(self) -> None:
        """The socket takes no more for now: nothing is written until `resumed`, and nothing read, since answers to who
        does not take them would be kept without a bound."""
        self.paused_at = self._gateway.clock.monotonic()
        self.wire.pause_reading()
        if self.session is not None:
            self._gateway.look_after(self.session)

    def resumed(self) -> None:
        self.paused_at = None
        if self.session is None or self.session.calls < self._gateway.settings.calls:
            self.wire.resume_reading()
        if self.session is not None and self.session.pending:
            self._gateway.flush.touch(self.session)

    def retire(self) -> None:
        """The server stops: answer what runs, say `bye` 4000, close."""
        if self.session is not None:
            self._gateway.retire(self.session)

    def lost(self) -> None:
        """The connection is gone, however that came."""
        self._gateway.links.discard(self)
        session, self.session = self.session, None
        if session is not None and session.link is self:
            self._gateway.detached(session)
        self._gateway.rest()
