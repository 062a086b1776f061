"""The client's side of a session: the mirror image of the server's, without I/O.

It is fed with frames and a ``now`` (seconds of any steady clock) and asked what to write and what has happened::

    session.connected(now)
    for frame in received: session.receive(frame, now)
    session.poll(now)                      # at `deadline()` at the latest
    write(session.take_frames(now)); handle(session.take_events())
    session.lost(code, now)                # and connect again, unless it says "never"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from msgspec import UNSET, Raw

from chat_common.errors import ChatError, Conflict, Invalid, NotAuthenticated, NotPermitted, error_types
from chat_common.protocol import client_events as events
from chat_common.protocol.client_jobs import Job
from chat_common.protocol.client_state import State
from chat_common.protocol.client_sync import Syncer
from chat_common.protocol.closing import CloseCode, reconnect_of
from chat_common.protocol.frames import (
    Ack,
    Beat,
    Bye,
    Call,
    ClientFrame,
    ClientNote,
    Device,
    Error,
    Hello,
    Lagged,
    Note,
    Push,
    Reconnect,
    Reply,
    Resume,
    ServerFrame,
    Welcome,
)

Phase = Literal["down", "greeting", "live", "over"]

TRANSITIONS: dict[Phase, dict[str, Phase]] = {
    "down": {"connected": "greeting", "end": "over"},
    "greeting": {"welcome": "live", "lost": "down", "end": "over"},
    "live": {"lost": "down", "end": "over"},
    "over": {},
}
"""What may happen in which phase, and the phase that follows."""

ACK_EVERY = 8
"""Pushes after which an `ack` is written at once."""
ACK_DELAY = 0.2
"""Seconds after which a push is acknowledged at the latest."""
WELCOME_WITHIN = 15.0
"""Seconds that a server has for its `welcome`."""
LIFE = 1.5
"""Heartbeats of silence after which a connection is given up."""

_ERRORS = error_types()
_FINAL: dict[int, type[ChatError]] = {
    CloseCode.ABUSE: Invalid,
    CloseCode.TOKEN_INVALID: NotAuthenticated,
    CloseCode.BANNED: NotPermitted,
    CloseCode.REPLACED: NotPermitted,
}


class ClientSession:
    """One client, over all its connections.

    Guarantees: every `call` is answered by exactly one `Answered`, and repeated by its ref after each reconnect until
    then, in the order the calls were made; pushes are counted and acknowledged; ``state`` ends up equal to the
    server's whatever was lost on the way; each message is told once as `MessageReceived`, in order of ``seq`` per
    conversation (again only after `StartedOver`).

    Without a token it is a guest's. ``whole`` holds conversations from their first message; otherwise what was read
    before is fetched only when asked for, and at most the newest ``keep`` messages of each conversation are held.
    """

    def __init__(
        self,
        device: Device,
        token: str | None = None,
        *,
        state: State | None = None,
        whole: bool = False,
        keep: int | None = None,
    ) -> None:
        self.device = device
        self.token = token
        self.phase: Phase = "down"
        self.welcome: Welcome | None = None
        self.ending: ChatError | None = None
        self.received = 0
        self.acked = 0
        self._session: str | None = None
        self._sync = Syncer(state or State(), whole, None if whole else keep)
        self._calls: dict[str, Call] = {}
        self._jobs: dict[str, Job] = {}
        self._job_count = 0
        self._frames: list[ClientFrame] = []
        self._heard_at = 0.0
        self._ack_due: float | None = None
        self._bye: Bye | None = None

    @property
    def state(self) -> State:
        return self._sync.state

    @property
    def settled(self) -> bool:
        """Live, and nothing is left to sync: the copy is as new as what the server has said."""
        return self.phase == "live" and self._sync.settled and not self._jobs

    @property
    def gaps(self) -> int:
        """Messages so far that a paid sync had left out and that `history` brought; above 0 there is a defect."""
        return self._sync.gaps.count

    @property
    def open_calls(self) -> Mapping[str, Call]:
        """Calls without an answer, in the order they were made."""
        return self._calls

    # --- the connection -------------------------------------------------------------------------------------------

    def connected(self, now: float) -> None:
        """A new connection is open: says hello, with a resume where there is a session to go on with."""
        self._go("connected")
        self._heard_at, self._ack_due, self._bye = now, None, None
        resume = Resume(self._session, self.received) if self._session is not None else None
        self._frames = [Hello(self.device, self.token, resume)]

    def receive(self, frame: ServerFrame, now: float) -> None:
        """One frame of the server has come."""
        if self.phase not in ("greeting", "live"):
            return
        self._heard_at = now
        match frame:
            case Push(event, data):
                self._counted(now)
                if event == "token":
                    self.token = data["token"]
                    self._tell(events.TokenRenewed(data["token"], data["expires_at"]))
                else:
                    self._sync.pushed(event, data)
            case Lagged():
                self._counted(now)
                self._sync.owe_version()
            case Beat():
                self._ack()
                self._sync.beat(frame)
            case Reply(ref, result):
                self._answered(ref, result)
            case Error():
                self._refused(frame, now)
            case Note(event, data):
                self._tell(events.Noted(event, data))
            case Welcome():
                self._welcomed(frame)
            case Bye():
                self._bye = frame

    def heard(self, now: float) -> None:
        """Another sign of life has come, such as a WebSocket ping."""
        self._heard_at = now

    def lost(self, code: int | None, now: float) -> Reconnect:
        """The connection is gone, closed with ``code`` or with none. Says how to come back.

        A `bye` decides, and where there was none, the close code. Open calls wait for the next connection, except
        after "never": then they fail and the session is over.
        """
        if self.phase == "over":
            return "never"
        if self.phase != "down":
            self._go("lost")
        how = self._bye.reconnect if self._bye is not None else reconnect_of(code or 1006)
        self._frames, self._ack_due = [], None
        self._jobs.clear()
        self._sync.disconnected()
        self._tell(events.Disconnected(code))
        if how != "resume":
            self._session = None
        if how == "never":
            bye = self._bye
            self.end(bye.code if bye is not None else code or 1006, bye.reason if bye is not None else "")
        return how

    def end(self, code: int = 1000, reason: str = "closed by the client") -> None:
        """End the session for good: open calls fail, nothing more is said. Idempotent."""
        if self.phase == "over":
            return
        self._go("end")
        self._frames, self._ack_due = [], None
        self.ending = _FINAL.get(code, Conflict)(f"the session is over: {reason or code}")
        for ref in self._calls:
            self._tell(events.Answered(ref, error=self.ending))
        self._calls.clear()
        self._tell(events.Ended(code, reason, self.ending))

    # --- the user's side ------------------------------------------------------------------------------------------

    def call(self, ref: str, command: str, params: Any = None) -> None:
        """A command; repeated by ``ref`` on every new connection until it is answered.

        A ref whose call is still open is not called twice. Raises ``ending`` when the session is over.
        """
        if self.ending is not None:
            raise self.ending
        if ref in self._calls:
            return
        frame = Call(ref, command, cast(Raw, {} if params is None else params))
        self._calls[ref] = frame
        if self.phase == "live":
            self._frames.append(frame)

    def forget(self, ref: str) -> None:
        """Nobody is waiting for this answer any longer; the call is not repeated."""
        self._calls.pop(ref, None)

    def note(self, event: str, data: Any) -> None:
        """Send an ephemeral event; dropped while there is no connection."""
        if self.phase == "live":
            self._frames.append(ClientNote(event, cast(Raw, data)))

    def resync(self, conversation: str | None = None) -> None:
        """Sync one conversation, or what the list tells of, though no hint says that anything is missing."""
        if conversation is None:
            self._sync.owe_version()
        else:
            self._sync.owe_room(conversation)

    # --- time and output ------------------------------------------------------------------------------------------

    def poll(self, now: float) -> bool:
        """Time has passed: acknowledges what is due. False when the connection has been silent for too long."""
        if self._ack_due is not None and now >= self._ack_due:
            self._ack()
        return self.phase not in ("greeting", "live") or now < self._silent_at()

    def deadline(self) -> float | None:
        """When `poll` and `take_frames` have something to do next, or None."""
        if self.phase not in ("greeting", "live"):
            return None
        times = (self._silent_at(), self._ack_due, self._sync.deadline())
        return min(time for time in times if time is not None)

    def take_frames(self, now: float) -> list[ClientFrame]:
        """What to write now, in order, each once."""
        if self.phase == "live":
            for job in self._sync.plan(now):
                self._job_count += 1
                ref = f"sync-{self._job_count}"
                self._jobs[ref] = job
                self._frames.append(Call(ref, job.command, cast(Raw, job.params)))
        frames, self._frames = self._frames, []
        return frames

    def take_events(self) -> list[events.Event]:
        """What has happened since the last time, in order."""
        told = self._sync.told[:]
        self._sync.told.clear()
        return told

    # --- inside ---------------------------------------------------------------------------------------------------

    def _go(self, happening: str) -> None:
        following = TRANSITIONS[self.phase].get(happening)
        if following is None:
            raise RuntimeError(f"a session that is {self.phase} cannot take {happening!r}")
        self.phase = following

    def _tell(self, event: events.Event) -> None:
        self._sync.told.append(event)

    def _silent_at(self) -> float:
        if self.phase == "greeting" or self.welcome is None:
            return self._heard_at + WELCOME_WITHIN
        return self._heard_at + LIFE * self.welcome.heartbeat

    def _counted(self, now: float) -> None:
        self.received += 1
        if self.received - self.acked >= ACK_EVERY:
            self._ack()
        elif self._ack_due is None:
            self._ack_due = now + ACK_DELAY

    def _ack(self) -> None:
        self._ack_due = None
        self.acked = self.received
        self._frames.append(Ack(self.received))

    def _welcomed(self, welcome: Welcome) -> None:
        if self.phase != "greeting":
            return
        self._go("welcome")
        if not welcome.resumed:
            self.received = 0
        self.acked = self.received  # the hello's `received` has said so
        self.welcome = welcome
        self._session = welcome.session
        self._tell(events.Welcomed(welcome))
        self._sync.welcomed(welcome)
        self._frames.extend(self._calls.values())

    def _answered(self, ref: str, result: Any) -> None:
        job = self._jobs.pop(ref, None)
        if job is not None:
            self._sync.answered(job, result)
        elif (call := self._calls.pop(ref, None)) is not None:
            self._sync.replied(call.command, result)
            self._tell(events.Answered(ref, result))

    def _refused(self, frame: Error, now: float) -> None:
        kind = _ERRORS.get(frame.code, ChatError)
        details = {
            name: value
            for name in ("field", "limit", "retry_after", "details")
            if (value := getattr(frame, name)) is not UNSET
        }
        error = kind(frame.message, **details)
        if frame.ref is UNSET:
            self._tell(events.Refused(error))
            if self.phase == "greeting" and frame.code == "invalid":
                self.end(CloseCode.ABUSE, frame.message)  # saying the same hello again would change nothing
        elif (job := self._jobs.pop(frame.ref, None)) is not None:
            self._sync.failed(job, error, now)
        elif self._calls.pop(frame.ref, None) is not None:
            self._tell(events.Answered(frame.ref, error=error))
