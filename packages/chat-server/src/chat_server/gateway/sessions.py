"""The life of this node's sessions: connected, at work, to be closed, over."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator

from chat_common.protocol.closing import CloseCode, reconnect_of
from chat_common.protocol.session import State

from chat_server.gateway.flush import Flush
from chat_server.gateway.guests import Guests
from chat_server.gateway.index import SessionIndex
from chat_server.gateway.node import Node
from chat_server.gateway.session import Connection, Session
from chat_server.gateway.wheel import Wheel
from chat_server.services import CloseSessions

LAST_CALLS = 2.0
"""Seconds that the running calls of a session get before it is closed all the same."""

PORTION, PORTION_EVERY = 100, 0.1
"""Sessions, at least, that are sent away at once when the server stops, and seconds between two such portions."""

NOTED = 1_000
"""Requests to close that are noted for a session that is entering; one that would need more comes again."""

TOO_MANY = CloseSessions(CloseCode.SESSION_OVER, "too many sessions were ended at this moment", "sync")

STOPPING = CloseSessions(CloseCode.GOING_AWAY, "the server is stopping", "resume")


class Sessions:
    """Who is here, when each is looked at again, and how each ends.

    Others are told by what they append: ``over`` gets a session of which nothing is left, ``left`` a user one of whose
    connections is gone; ``due`` says in how many seconds it wants to see a session again (infinite: never).
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._now = node.clock.monotonic
        self._terms = node.session_settings
        self.index = SessionIndex()
        self.flush = Flush(self._ended)
        self.wheel: Wheel[Session] = Wheel(node.clock, min(0.5, node.settings.heartbeat / 20), self._due)
        self.connections: set[Connection] = set()
        self.calls = 0
        self.draining = False
        self.epoch: str | None = None  # The store's, as far as anybody here has heard of it.
        self._entering: dict[Session, list[CloseSessions]] = {}
        self.over: list[Callable[[Session], None]] = []
        self.left: list[Callable[[str], None]] = []
        self.due: list[Callable[[Session], float]] = []
        self._resting = asyncio.Event()
        self.guests = Guests(node.settings.guests, node.settings.guest_lifetime, self._now, node.refusals)
        self.over.append(self.guests.forget)
        self.due.append(self.guests.due)

    # --- begun and ended by their connections and calls ---

    def connect(self, connection: Connection) -> None:
        """A client has connected: a session that has not said hello yet."""
        now = self._now()
        session = connection.session = Session(self._terms, now)
        session.connection = connection
        self.connections.add(connection)
        self.wheel.add(session, now + self._node.settings.hello_timeout)
        if self.draining:
            self._close(session, STOPPING)

    def disconnect(self, connection: Connection) -> None:
        """The connection is gone, however that came."""
        self.connections.discard(connection)
        session, connection.session = connection.session, None
        if session is not None and session.connection is connection:
            session.connection = session.ending = None
            session.detach(self._now())
            self._settle(session)
        self._rest()

    def call_began(self, session: Session) -> None:
        self.calls += 1
        session.calls += 1

    def call_ended(self, session: Session) -> None:
        self.calls -= 1
        session.calls -= 1

    def answered(self, session: Session) -> None:
        """What was to be written of a call is there; the last one of a session that is to end ends it."""
        if session.closing is not None and session.calls == 0:
            self._carry_out(session)
        self.flush.touch(session)
        self._rest()

    def forget(self, session: Session) -> None:
        """Nothing of this session is left; said more than once it changes nothing."""
        if self.index.remove(session):
            for tell in self.over:
                tell(session)

    # --- ended by others ---

    @contextlib.contextmanager
    def entering(self, session: Session) -> Iterator[None]:
        """While it is found out who this session is: what ends sessions meanwhile is noted for it, see `ended`."""
        self._entering[session] = []
        try:
            yield
        finally:
            del self._entering[session]

    def ended(self, session: Session) -> CloseSessions | None:
        """What was to end this session while it was entering; asked as soon as it is known who it is."""
        noted = self._entering[session]
        return next((request for request in noted if session.matches(request)), None)

    def close(self, request: CloseSessions) -> int:
        """End all that match; how many there were."""
        for noted in self._entering.values():
            noted.append(request if len(noted) < NOTED else TOO_MANY)
            del noted[NOTED:-1]
        if request.session is not None:
            found = self.index.get(request.session)
            sessions = [found] if found is not None else []
        elif request.user is not None:
            sessions = list(self.index.of((request.user,)))
        else:
            sessions = list(self.index)
        matching = [session for session in sessions if session.closing is None and session.matches(request)]
        for session in matching:
            self._close(session, request)
        return len(matching)

    def end_all(self, code: int, reason: str) -> None:
        """End every session of this node."""
        for session in self.index:
            self._close(session, CloseSessions(code, reason, reconnect_of(code)))

    def retire(self, session: Session) -> None:
        """End one session because the server stops."""
        self._close(session, STOPPING)

    async def drain(self) -> None:
        """Stop: new connections are turned away, running calls get to end, everybody hears `bye` 4000, in portions over
        the time that the settings give. Called again meanwhile, nobody is waited for any more."""
        spread = 0.0 if self.draining else self._node.settings.drain_spread
        self.draining = True
        left = self._here()
        portion = max(PORTION, math.ceil(len(left) * PORTION_EVERY / spread)) if spread > 0 else len(left)
        while len(left) > portion:
            for session in left[:portion]:
                self.retire(session)
            del left[:portion]
            await asyncio.sleep(PORTION_EVERY)
        for session in self._here():  # some may have been resumed, or have begun, meanwhile
            self.retire(session)
        self._rest()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._node.settings.drain_timeout):
                await self._resting.wait()
        for connection in list(self.connections):
            connection.wire.abort()

    # --- time ---

    def look_after(self, session: Session) -> None:
        """Its next deadline may lie before the one that the wheel knows."""
        at = self._due(session, self._now())
        if at is not None:
            self.wheel.add(session, at)

    def _due(self, session: Session, now: float) -> float | None:
        """What the wheel does with a session whose time has come."""
        if session.closing is not None and session.state is not State.CLOSED:
            if session.calls and now < session.closing_at + LAST_CALLS:
                return session.closing_at + LAST_CALLS
            self._carry_out(session)
        connection, settings = session.connection, self._node.settings
        slow_at = float("inf")
        if connection is not None and connection.paused_at is not None:
            slow_at = connection.paused_at + settings.slow_timeout
            if now >= slow_at:
                session.close(CloseCode.TOO_SLOW, f"the client took nothing for {settings.slow_timeout:g} s", now=now)
        others_at = now + min((due(session) for due in self.due), default=float("inf"))
        at = session.tick(now)
        if session.pending or session.ending is not None:
            self.flush.touch(session)
        if session.state is State.CLOSED:
            self._settle(session)
            return None
        return min(at or now, slow_at if slow_at > now else at or now, others_at)

    # --- inside ---

    def _here(self) -> list[Session]:
        """Those with a connection, guests and strangers among them, before those that wait to be resumed."""
        connected = [connection.session for connection in self.connections if connection.session is not None]
        return list(dict.fromkeys([*connected, *self.index]))

    def _close(self, session: Session, request: CloseSessions) -> None:
        """Close as soon as the running calls are answered: the one who logs out hears it before the `bye`."""
        if session.closing is not None:
            return
        session.closing, session.closing_at = request, self._now()
        if session.calls == 0 or session.connection is None:
            self._carry_out(session)
        else:
            self.wheel.add(session, self._now() + LAST_CALLS)

    def _carry_out(self, session: Session) -> None:
        request = session.closing
        assert request is not None
        session.close(request.code, request.reason, reconnect=request.reconnect)
        self.flush.touch(session)
        self._settle(session)

    def _ended(self, session: Session) -> None:
        """Its connection was closed by us, after the bye."""
        connection, session.connection = session.connection, None
        if connection is not None:
            connection.session = None
        self._settle(session)

    def _settle(self, session: Session) -> None:
        if session.connection is None and session.user is not None:
            for tell in self.left:
                tell(session.user)
        if session.connection is None and session.user is None and session.state is State.DETACHED:
            # A guest has nothing that would be worth keeping, and strangers could leave as many as they like.
            session.close(CloseCode.SESSION_OVER, "a guest is not resumed")
        if session.state is State.CLOSED:
            self.forget(session)

    def _rest(self) -> None:
        """Something ended: while draining, notice when it was the last."""
        if self.draining and not self.connections and not self.calls:
            self._resting.set()
