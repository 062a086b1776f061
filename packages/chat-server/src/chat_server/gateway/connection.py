"""The gateway's end of one connection: what a transport calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from chat_common.errors import ChatError, RateLimited
from chat_common.protocol.frames import Ack, BadFrame, Call, ClientFrame, ClientNote, Hello
from chat_common.records import Caller

from chat_server.gateway.acknowledgements import Acknowledgements
from chat_server.gateway.calls import Calls
from chat_server.gateway.ephemeral import EphemeralEvents
from chat_server.gateway.handshake import Handshake
from chat_server.gateway.node import Node
from chat_server.gateway.session import Connection, Session
from chat_server.gateway.sessions import Sessions
from chat_server.gateway.wire import Wire

HOLD = (0.25, 1.0)
"""Seconds, at least and at most, for which nothing more is read from a client whose points are spent."""


class Desk:
    """What handles a client's frames, by their kind; one for all connections of a node."""

    __slots__ = (
        "acknowledgements", "calls", "charge", "client_frames", "events", "handshake", "most_calls", "now", "sessions",
    )  # fmt: skip

    def __init__(
        self,
        node: Node,
        sessions: Sessions,
        handshake: Handshake,
        calls: Calls,
        events: EphemeralEvents,
        acknowledgements: Acknowledgements,
        charge: Callable[[Caller, str | None], None],
    ) -> None:
        self.charge = charge
        self.client_frames = node.codec.client_frames
        self.now = node.clock.monotonic
        self.most_calls = node.settings.max_open_calls
        self.sessions = sessions
        self.handshake, self.calls, self.events, self.acknowledgements = handshake, calls, events, acknowledgements


class ClientConnection(Connection):
    """Made by `Gateway.connect`. All methods are called from the event loop's thread and return at once."""

    __slots__ = ("_desk", "_held", "_waiting")

    def __init__(self, desk: Desk, wire: Wire) -> None:
        super().__init__(wire)
        self._desk = desk
        self._held = False
        self._waiting: deque[bytes] = deque()

    def received(self, data: bytes) -> None:
        """Take a whole message of the client; the transport has checked that it is UTF-8."""
        if self._held:
            # It was read before reading was paused, so these are never more than one read of the socket held.
            self._waiting.append(data)
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        desk = self._desk
        now = desk.now()
        for frame in desk.client_frames(data):
            session = self.session
            if session is None or session.closing is not None or session.ending is not None:
                return
            if type(frame) is Ack:
                covered = desk.acknowledgements.collector
                if session.acknowledge(frame.received, now, covered) and covered:
                    desk.acknowledgements.take(session, covered)
            elif self._held and type(frame) is not Call:
                continue  # Refused once already in this message; only calls wait for an answer of their own.
            elif type(frame) is Call:
                # Made once, since each message needs it twice.
                caller = session.caller(frame.ref, frame.command)
                if self._paid(session, frame, caller) and session.receive(frame, now) is frame:
                    desk.calls.begin(session, frame, caller)
            elif type(frame) is Hello or self._paid(session, frame, session.caller(_ref_of(frame))):
                served = session.receive(frame, now)
                if type(served) is Hello:
                    desk.handshake.begin(self, session, served)
                elif type(served) is ClientNote:
                    desk.events.begin(session, served)
            if session.pending:
                desk.sessions.flush.touch(session)

    def _paid(self, session: Session, frame: ClientFrame | BadFrame, caller: Caller) -> bool:
        """Charge for a frame but a hello, of which each connection has one.

        Without points it is refused (an ephemeral event is dropped), and nothing is read for a while: otherwise the
        refusals of a flood would cost the other clients time.
        """
        try:
            self._desk.charge(caller, caller.command or None)
        except RateLimited as error:
            session.heard(self._desk.now())
            if type(frame) is not ClientNote:
                session.refuse(error, caller.ref or None)
            self._hold(min(max(error.retry_after or 0.0, HOLD[0]), HOLD[1]))
            return False
        return True

    def _hold(self, seconds: float) -> None:
        if not self._held:
            self._held = True
            self.wire.pause_reading()
            asyncio.get_running_loop().call_later(seconds, self._release)

    def _release(self) -> None:
        self._held = False
        while self._waiting and not self._held and self.session is not None:
            self._take(self._waiting.popleft())
        if self._held:
            return
        self._waiting.clear()
        if self.paused_at is None and (self.session is None or self.session.calls < self._desk.most_calls):
            self.wire.resume_reading()

    def refuse(self, error: ChatError) -> None:
        """Refuse a message that the transport can tell is invalid without reading it; it counts as a sign of life."""
        session = self.session
        if session is not None and session.closing is None and session.ending is None:
            session.heard(self._desk.now())
            session.refuse(error)
            self._desk.sessions.flush.touch(session)

    def heard(self) -> None:
        """Note a sign of life other than a message: a WebSocket ping or pong."""
        if self.session is not None:
            self.session.heard(self._desk.now())

    def paused(self) -> None:
        """Stop writing until `resumed`, because the socket takes no more; and stop reading, because answers that the
        client does not take would pile up without bound."""
        self.paused_at = self._desk.now()
        self.wire.pause_reading()
        if self.session is not None:
            self._desk.sessions.look_after(self.session)

    def resumed(self) -> None:
        self.paused_at = None
        if self.session is None or self.session.calls < self._desk.most_calls:
            self.wire.resume_reading()
        if self.session is not None and self.session.pending:
            self._desk.sessions.flush.touch(self.session)

    def retire(self) -> None:
        """Answer running calls, say `bye` 4000 and close, because the server stops."""
        if self.session is not None:
            self._desk.sessions.retire(self.session)

    def lost(self) -> None:
        """The connection is gone, for whatever reason."""
        self._desk.sessions.disconnect(self)


def _ref_of(frame: ClientFrame | BadFrame) -> str:
    return frame.ref or "" if type(frame) is BadFrame else ""
