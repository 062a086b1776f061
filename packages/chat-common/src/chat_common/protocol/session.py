"""The server's side of a connection: fed with frames, pushes and a ``now``, asked what to write and when to come back.

::

    NEW ◄─reject── HANDSHAKE ──welcome──► OPEN ◄──resume── DETACHED
     │ └──hello──────▲ │                  │ └────detach──────▲ │
     └─────close───────┴──────close───────┴───────close────────┴──► CLOSED

Times (``now``) are seconds of a monotonic clock. The owner writes what `take` returns, in order, to the connection;
when `ending` is set it closes the connection with that code afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

from attrs import field, frozen

from chat_common.errors import ChatError, Invalid, NotAuthenticated
from chat_common.protocol.chunk import Chunk
from chat_common.protocol.closing import CloseCode, reconnect_of
from chat_common.protocol.frames import (
    Ack,
    BadFrame,
    Beat,
    Bye,
    Call,
    ClientFrame,
    ClientNote,
    Error,
    Hello,
    Lagged,
    Ping,
    Pong,
    Reconnect,
    Reply,
    Welcome,
)
from chat_common.protocol.versions import VersionTracker
from chat_common.protocol.window import Window, WindowLimits

SAY_HELLO = "say hello first, and wait for welcome"


class State(Enum):
    NEW = "new"
    HANDSHAKE = "handshake"
    OPEN = "open"
    DETACHED = "detached"
    CLOSED = "closed"


TRANSITIONS: dict[tuple[State, str], State] = {
    (State.NEW, "hello"): State.HANDSHAKE,
    (State.NEW, "close"): State.CLOSED,
    (State.HANDSHAKE, "welcome"): State.OPEN,
    (State.HANDSHAKE, "reject"): State.NEW,
    (State.HANDSHAKE, "close"): State.CLOSED,
    (State.OPEN, "detach"): State.DETACHED,
    (State.OPEN, "close"): State.CLOSED,
    (State.DETACHED, "resume"): State.OPEN,
    (State.DETACHED, "close"): State.CLOSED,
}
"""What may happen in which state; anything else is a mistake of the owner and raises RuntimeError."""


class Encoder(Protocol):
    def encode(self, value: Any) -> bytes: ...


@frozen
class SessionSettings:
    """What holds for all sessions of a node. Durations in seconds; ``wall_ms`` gives the time of day in ms."""

    codec: Encoder
    wall_ms: Callable[[], int]
    limits: WindowLimits = field(factory=WindowLimits)
    heartbeat: float = 30.0
    ack_timeout: float = 20.0
    hello_timeout: float = 10.0
    resume_for: float = 120.0
    max_invalid: int = 100
    lagged: Chunk = field(init=False)

    @lagged.default
    def _encode_lagged(self) -> Chunk:
        return Chunk((self.codec.encode(Lagged()),))


@frozen
class Ending:
    """The connection is to be closed with this code, once what was written is out."""

    code: int
    reason: str


class ServerSession:
    """One session, from before its `hello` to after its last socket.

    `push` costs the same for one frame as for many: it keeps a reference. Nothing is ever written twice to one
    connection. Memory is bounded by `SessionSettings.limits`, plus the answers not taken yet.
    """

    __slots__ = ("_beat_at", "_expires_at", "_heard_at", "_invalid", "_out", "_probed_at", "_unacked_since", "ending",
                 "settings", "state", "versions", "window")  # fmt: skip

    def __init__(self, settings: SessionSettings, now: float) -> None:
        self.settings = settings
        self.state = State.NEW
        self.window = Window(settings.limits, settings.lagged)
        self.versions = VersionTracker()
        self.ending: Ending | None = None
        self._out: list[Chunk | bytes] = []
        self._invalid = 0
        self._heard_at = now
        self._beat_at = now
        self._expires_at = now + settings.hello_timeout
        self._unacked_since: float | None = None
        self._probed_at: float | None = None

    # --- asked ---

    @property
    def version(self) -> int:
        """How far the client was brought, without a hole."""
        return self.versions.version

    @property
    def pending(self) -> bool:
        """Whether `take` would return anything."""
        return bool(self._out)

    def take(self) -> list[Chunk | bytes]:
        """What to write now, in order: chunks of pushes and single encoded frames. The caller owns the list."""
        out, self._out = self._out, []
        return out

    # --- fed by the client ---

    def heard(self, now: float) -> None:
        """The peer gave a sign of life (any byte of it will do)."""
        self._heard_at = now

    def receive(self, frame: ClientFrame | BadFrame, now: float) -> Hello | Call | ClientNote | None:
        """Take one frame. What somebody else must serve is returned, the rest is answered here."""
        self._heard_at = now
        if type(frame) is Ack:
            self.acknowledge(frame.received, now)
            return None
        if self.state is State.CLOSED or self.state is State.DETACHED:
            return None
        if type(frame) is BadFrame:
            unknown = frame.error.field == "op" and self.state is not State.OPEN
            self.refuse(NotAuthenticated(SAY_HELLO) if unknown else frame.error, frame.ref)
            return None
        if type(frame) is Hello:
            if self.state is State.NEW:
                self._go("hello")
                return frame
            self.refuse(Invalid("This connection has already said hello.", field="op"))
            return None
        if self.state is not State.OPEN:
            ref = frame.ref if type(frame) is Call else None
            self.refuse(NotAuthenticated(SAY_HELLO), ref)
            return None
        if type(frame) is Ping:
            self._served()
            self._write(Pong(self.settings.wall_ms()))
            return None
        if type(frame) is ClientNote:
            self._served()
            return frame
        assert type(frame) is Call
        return frame

    def acknowledge(self, received: int, now: float, covered: list[Chunk] | None = None) -> bool:
        """The client has ``received`` pushes in all; True when that made room. Adds to ``covered`` what it has now."""
        self._heard_at = now
        if self.state is not State.OPEN:
            if self.state is State.NEW or self.state is State.HANDSHAKE:
                self.refuse(NotAuthenticated(SAY_HELLO))
            return False
        try:
            fresh = self.window.ack(received, covered)
        except ValueError as error:
            self.refuse(Invalid(str(error), field="received", limit=self.window.sent))
            return False
        self._invalid = 0
        if fresh:
            self._probed_at = None
            self._unacked_since = None if self.window.acked == self.window.sent else now
            self._release(now)
        return fresh

    # --- fed by the server ---

    def welcome(self, welcome: Welcome, now: float, *, beat_in: float | None = None) -> None:
        """Begin: `welcome` is written first, then what was pushed meanwhile. ``beat_in``: when the first beat is due,
        so that an owner of many may spread them."""
        self._go("welcome")
        self._write(welcome)
        self._served()
        self.versions.synced(welcome.version)
        self._beat_at = now + (self.settings.heartbeat if beat_in is None else beat_in)
        self._release(now)

    def reject(self, error: ChatError) -> None:
        """Refuse this `hello`; the client may try another one."""
        self._go("reject")
        self.refuse(error)

    def can_resume(self, received: int) -> bool:
        """Whether a client that has ``received`` pushes could go on here, once the old connection is detached."""
        live = self.state is State.OPEN or self.state is State.DETACHED
        return live and self.window.acked <= received <= self.window.sent

    def resume(self, welcome: Welcome, received: int, now: float, *, beat_in: float | None = None) -> bool:
        """Go on over a new connection: `welcome`, what comes after ``received``, what waits. False: nothing is done."""
        if self.state is not State.DETACHED or not self.can_resume(received):
            return False
        again = self.window.resume(received)
        assert again is not None
        self._go("resume")
        self._out = []
        self.ending = None
        self._invalid = 0
        self._heard_at = now
        self._beat_at = now + (self.settings.heartbeat if beat_in is None else beat_in)
        self._probed_at = None
        self._unacked_since = now if again else None
        self._write(welcome)
        self._out.extend(again)
        self._release(now)
        return True

    def push(self, chunk: Chunk, version: int, now: float) -> None:
        """One delivery, and the user's version that it brings (0: none). An empty chunk brings the version alone."""
        if not chunk.count:
            self._push_version(chunk, version, now)
        elif self.state is State.OPEN and self.window.send(chunk):
            self._out.append(chunk)
            if version:
                self.versions.pushed(version)
            if self._unacked_since is None:
                self._unacked_since = now
        elif self.state is not State.CLOSED:
            self.window.hold(chunk, version)
            if self.state is State.OPEN:
                self._release(now)

    def push_through(self, chunk: Chunk, now: float) -> bool:
        """Push a chunk without a version and take it at once: True when it is all that is to be written, and the
        caller writes it; False, and nothing is done, when other output or the window stands in the way."""
        if self._out or self.state is not State.OPEN or not self.window.send(chunk):
            return False
        if self._unacked_since is None:
            self._unacked_since = now
        return True

    def _push_version(self, empty: Chunk, version: int, now: float) -> None:
        """In its turn: a version is only reached when what came before it was written."""
        if self.state is not State.CLOSED:
            self.window.hold(empty, version)
            if self.state is State.OPEN:
                self._release(now)

    def reply(self, ref: str, result: Any) -> None:
        if self.state is State.OPEN:
            self._served()
            self._write(Reply(ref, result))

    def refuse(self, error: ChatError, ref: str | None = None) -> None:
        """Answer with an error; too many `invalid` in a row end the connection."""
        if self.state is State.CLOSED or self.state is State.DETACHED:
            return
        self._write(Error.of(error, ref))
        if error.code == "invalid":
            self._invalid += 1
            if self._invalid >= self.settings.max_invalid:
                self.close(CloseCode.ABUSE, f"{self._invalid} invalid frames in a row")

    def note(self, encoded: bytes) -> None:
        """A volatile note, encoded once for all."""
        if self.state is State.OPEN:
            self._out.append(encoded)

    def beat(self, *, behind: bool = False) -> None:
        """A beat outside of the rhythm."""
        if self.state is State.OPEN:
            self._write(Beat(self.versions.version, self.settings.wall_ms(), behind))

    def detach(self, now: float) -> None:
        """The connection is gone. What was taken or waits to be taken counts as sent; new pushes wait."""
        if self.state is State.OPEN:
            self._go("detach")
            self._out = []
            self._expires_at = now + self.settings.resume_for
        elif self.state is State.NEW or self.state is State.HANDSHAKE:
            self._go("close")
            self._out = []

    def close(self, code: int, reason: str, *, now: float | None = None, reconnect: Reconnect | None = None) -> None:
        """Say `bye` and end the connection. After a code of the resumable kind an open session waits to be resumed."""
        if self.state is State.CLOSED:
            return
        if self.state is not State.DETACHED:
            self._write(Bye(int(code), reason, reconnect or reconnect_of(code)))
            self.ending = Ending(int(code), reason)
        if self.state is State.OPEN and now is not None and reconnect_of(code) == "resume":
            self._go("detach")
            self._expires_at = now + self.settings.resume_for
        else:
            self._go("close")

    # --- time ---

    def tick(self, now: float) -> float | None:
        """Do what is due; returns when to come back at the latest, None when this session is over.

        Sends the beats, ends the silent and the forgetful, lets a detached session expire.
        """
        settings = self.settings
        if self.state is State.OPEN:
            silent_at = self._heard_at + 1.5 * settings.heartbeat
            if now >= silent_at:
                self.close(CloseCode.SILENT, f"silent for {1.5 * settings.heartbeat:g} s", now=now)
                return self._expires_at
            if now >= self._beat_at:
                self._beat_at = max(self._beat_at, now - settings.heartbeat / 2) + settings.heartbeat
                self.beat()
            return min(silent_at, self._beat_at, self._watch_acks(now))
        if self.state is State.CLOSED:
            return None
        if now < self._expires_at:
            return self._expires_at
        if self.state is State.DETACHED:
            self._go("close")
        else:
            self.close(CloseCode.NO_HELLO, f"no welcome within {settings.hello_timeout:g} s")
        return None

    def _watch_acks(self, now: float) -> float:
        timeout = self.settings.ack_timeout
        if self._unacked_since is None:
            return now + timeout  # A push may be written at once after this.
        if self._probed_at is None:
            if now < self._unacked_since + timeout:
                return self._unacked_since + timeout
            self._probed_at = now
            self.beat()
        elif now >= self._probed_at + timeout:
            self.close(CloseCode.SILENT, f"nothing acknowledged for {2 * timeout:g} s", now=now)
            return self._expires_at
        return self._probed_at + timeout

    # --- inside ---

    def _go(self, event: str) -> None:
        try:
            self.state = TRANSITIONS[self.state, event]
        except KeyError:
            raise RuntimeError(f"a session that is {self.state.value} cannot {event}") from None

    def _write(self, frame: Any) -> None:
        self._out.append(self.settings.codec.encode(frame))

    def _served(self) -> None:
        self._invalid = 0

    def _release(self, now: float) -> None:
        for chunk, version in self.window.release():
            if version:
                self.versions.pushed(version)
            if chunk.count:
                self._out.append(chunk)
                if self._unacked_since is None:
                    self._unacked_since = now
