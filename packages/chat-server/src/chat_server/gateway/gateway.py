"""The gateway's service: its table of contents, and what connects its parts."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from chat_common.clock import Clock
from chat_common.codec import Codec
from chat_common.ports.directory import Directory
from chat_common.protocol.closing import CloseCode, reconnect_of
from chat_common.protocol.frames import Note
from chat_common.protocol.session import State, Terms
from chat_common.records import Caller, Push
from chat_common.wire import Limits

from chat_server.gateway.calls import Calls
from chat_server.gateway.check import Check
from chat_server.gateway.deliveries import Deliveries
from chat_server.gateway.flush import Flush
from chat_server.gateway.greeting import Greeting
from chat_server.gateway.link import Link
from chat_server.gateway.marks import Marks
from chat_server.gateway.neighbours import Neighbours
from chat_server.gateway.notes import Notes
from chat_server.gateway.presence import Presence, Watched, WatchPresence
from chat_server.gateway.rooms import Rooms
from chat_server.gateway.roster import Roster
from chat_server.gateway.seats import Seats
from chat_server.gateway.session import Session
from chat_server.gateway.settings import GatewaySettings
from chat_server.gateway.tasks import Tasks
from chat_server.gateway.tokens import Tokens
from chat_server.gateway.wheel import Wheel
from chat_server.gateway.wire import Wire
from chat_server.services import AuthService, CloseSessions, Delivery, Dispatcher, ImService, RouterService

DOOM = 2.0
"""Seconds that the running calls of a session get before it is closed all the same."""


class Gateway:
    """Who is on this wire? An async context: entered, it beats and checks; left, it has drained.

    All methods are called from the event loop's thread.
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
        self.settings = settings
        self.clock = clock
        self.node = node
        self.boot = boot or secrets.token_hex(8)
        self.codec = codec
        self.limits = limits or Limits()
        self.neighbours = Neighbours(auth, im, router, directory, dispatcher)
        self.epoch: str | None = None
        self.draining = False
        self.now = clock.monotonic
        self.terms = Terms(
            codec,
            clock.wall_ms,
            settings.limits,
            heartbeat=settings.heartbeat,
            ack_timeout=settings.ack_timeout,
            hello_timeout=settings.hello_timeout,
            resume_for=settings.resume_for,
        )
        self.tasks = Tasks()
        self.roster = Roster()
        self.flush = Flush(self._ended)
        self.wheel: Wheel[Session] = Wheel(clock, min(0.5, settings.heartbeat / 20), self._due)
        self.marks = Marks(self, report_acks)
        self.deliveries = Deliveries(self, drop)
        self.rooms = Rooms(self)
        self.seats = Seats(self)
        self.tokens = Tokens(self)
        self.presence = Presence(self)
        self.greeting = Greeting(self)
        self.calls = Calls(self)
        self.notes = Notes(self)
        self.check = Check(self)
        self.links: set[Link] = set()
        self._resting = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.tasks.__aenter__()
        settings = self.settings
        self.tasks.every(max(settings.heartbeat - settings.grace, settings.heartbeat / 2), self.check.run)
        self.tasks.every(settings.lease / 3, self.seats.renew)
        self.tasks.every(settings.heartbeat, self.presence.poll)
        if self.marks.collector is not None:
            self.tasks.every(1.0, self.marks.report)
        self.wheel.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain()
        self.wheel.stop()
        await self.tasks.__aexit__(None, None, None)

    # --- for transports ---

    def connect(self, wire: Wire) -> Link:
        """A client has connected. The transport tells the `Link` what happens from here on."""
        now = self.now()
        session = Session(self.terms, now)
        link = session.link = Link(self, wire, session)
        self.links.add(link)
        self.wheel.add(session, now + self.settings.hello_timeout)
        if self.draining:
            self._doom(session, CloseSessions(CloseCode.GOING_AWAY, "the server is stopping", "resume"))
        return link

    # --- GatewayService ---

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries.take(deliveries)

    async def tell(self, session: str, push: Push) -> bool:
        found = self.roster.get(session)
        if found is None or found.state is State.CLOSED:
            return False
        self.put(found, push)
        return True

    async def note(self, users: Sequence[str], event: str, data: Any) -> None:
        encoded: bytes | None = None
        for session in self.roster.of(users):
            if session.link is not None and session.link.paused_at is None:
                encoded = encoded or self.codec.encode(Note(event, data))
                session.note(encoded)
                self.flush.touch(session)

    async def close(self, request: CloseSessions) -> int:
        if request.session is not None:
            found = self.roster.get(request.session)
            sessions = [found] if found is not None else []
        elif request.user is not None:
            sessions = list(self.roster.of((request.user,)))
        else:
            sessions = list(self.roster)
        matching = [session for session in sessions if session.doomed is None and session.matches(request)]
        for session in matching:
            self._doom(session, request)
        return len(matching)

    async def online(self, users: Sequence[str]) -> Sequence[str]:
        return [user for user in users if self.roster.online(user)]

    # --- a command ---

    async def watch_presence(self, caller: Caller, request: WatchPresence) -> Watched:
        """Handler of the command ``presence.watch``, to be registered by the composition root."""
        return await self.presence.watch(caller, request)

    # --- the end ---

    async def drain(self) -> None:
        """Stop: new connections are turned away, running calls get to end, everybody hears `bye` 4000."""
        self.draining = True
        for link in list(self.links):
            link.retire()
        for session in self.roster:
            self.retire(session)
        self.rest()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_timeout):
                await self._resting.wait()
        for link in list(self.links):
            link.wire.abort()

    def retire(self, session: Session) -> None:
        """End one session because the server stops."""
        self._doom(session, CloseSessions(CloseCode.GOING_AWAY, "the server is stopping", "resume"))

    def end_all(self, code: int, reason: str) -> None:
        """End every session of this node."""
        for session in self.roster:
            self._doom(session, CloseSessions(code, reason, reconnect_of(code)))

    def stats(self) -> Mapping[str, int]:
        """Numbers for metrics."""
        return {
            "connections": len(self.links),
            "sessions": len(self.roster),
            "users": len(self.roster.by_user),
            "calls": self.calls.running,
        }

    # --- between the parts ---

    def put(self, session: Session, push: Push) -> None:
        """One push to one session."""
        session.push(self.deliveries.chunk([push], None), 0, self.now())
        self.flush.touch(session)

    def rest(self) -> None:
        """Something ended: while draining, notice when it was the last."""
        if self.draining and not self.links and not self.calls.running:
            self._resting.set()

    def answered(self, session: Session) -> None:
        """A call of this session is done with."""
        if session.doomed is not None and session.calls == 0:
            self._carry_out(session)
        self.flush.touch(session)
        self.rest()

    def detached(self, session: Session) -> None:
        """The session's connection is gone."""
        session.link = None
        session.ending = None
        session.detach(self.now())
        self._settle(session)

    def over(self, session: Session) -> None:
        """Nothing of this session is left; said more than once it changes nothing."""
        if not self.roster.remove(session):
            return
        self.rooms.leave(session)
        self.presence.forget(session)
        if session.user is not None:
            self.tasks.spawn(self.seats.leave(self.seats.of(session)))
            self.presence.left(session.user)

    def _doom(self, session: Session, request: CloseSessions) -> None:
        """Close as soon as the running calls are answered: the one who logs out hears it before the `bye`."""
        if session.doomed is not None:
            return
        session.doomed, session.doomed_at = request, self.now()
        if session.calls == 0 or session.link is None:
            self._carry_out(session)
        else:
            self.wheel.add(session, self.now() + DOOM)

    def _carry_out(self, session: Session) -> None:
        request = session.doomed
        assert request is not None
        session.close(request.code, request.reason, reconnect=request.reconnect)
        self.flush.touch(session)
        self._settle(session)

    def _ended(self, session: Session) -> None:
        """Its connection was closed by us, after the bye."""
        link, session.link = session.link, None
        if link is not None:
            link.session = None
        self._settle(session)

    def _settle(self, session: Session) -> None:
        if session.link is None and session.user is not None:
            self.presence.left(session.user)
        if session.state is State.CLOSED:
            self.over(session)

    def look_after(self, session: Session) -> None:
        """Its next deadline may lie before the one that the wheel knows."""
        at = self._due(session, self.now())
        if at is not None:
            self.wheel.add(session, at)

    def _due(self, session: Session, now: float) -> float | None:
        """What the wheel does with a session whose time has come."""
        if session.doomed is not None and session.state is not State.CLOSED:
            if session.calls and now < session.doomed_at + DOOM:
                return session.doomed_at + DOOM
            self._carry_out(session)
        link = session.link
        slow_at = float("inf")
        if link is not None and link.paused_at is not None:
            slow_at = link.paused_at + self.settings.slow_timeout
            if now >= slow_at:
                session.close(CloseCode.TOO_SLOW, f"took nothing for {self.settings.slow_timeout:g} s", now=now)
        token_at = now + self.tokens.due(session)
        at = session.tick(now)
        if session.pending or session.ending is not None:
            self.flush.touch(session)
        if session.state is State.CLOSED:
            self._settle(session)
            return None
        return min(at or now, slow_at if slow_at > now else at or now, token_at)
