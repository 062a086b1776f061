"""What the five rooms offer each other: protocols whose methods take records and return records.

A room never imports another one; the composition root hands it its neighbours under these types. In one process that
is the object itself, split over hosts a proxy with the same methods.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec
from attrs import field, frozen
from chat_common.errors import NotAuthenticated
from chat_common.records import Caller, Push
from chat_common.wire import User

# --- auth -------------------------------------------------------------------------------------------------------


@frozen
class Identity:
    """A proven caller. ``token`` names the login, which stays the same through all renewals; ``jti`` is the id of the
    token that was shown. ``expires_at`` in ms since 1970."""

    user: User
    device: str
    token: str
    expires_at: int
    jti: str = ""


class LoginEnded(NotAuthenticated):
    """The token's login was ended; ``close_code`` is what a session of it is closed with."""

    carried = ("close_code",)

    def __init__(self, message: str, *, close_code: int) -> None:
        super().__init__(message, field="token")
        self.close_code = close_code


class AuthService(Protocol):
    """Who are you, and may you?"""

    async def authenticate(self, token: str, device: str, platform: str | None, name: str | None) -> Identity:
        """The token's identity, its device noted as seen. `NotAuthenticated`: invalid, expired, or of another device;
        `LoginEnded`: ended; `NotPermitted`: banned; `Conflict`: the policy keeps this device out."""
        ...

    @property
    def renew_before(self) -> float:
        """Seconds before the end of a token at which its session is to be pushed a fresh one."""
        ...

    async def renew(self, identity: Identity) -> tuple[str, Identity]:
        """A fresh token of the same login and its identity, for the `token` push in good time. Asked again before
        that token was used, the answer is the same. Errors as with `authenticate`."""
        ...


# --- im ---------------------------------------------------------------------------------------------------------


Spans = Sequence[Sequence[int]]
"""Intervals of a membership, oldest first: ``[from, to]`` closed, ``[from]`` open."""


@frozen
class Membership:
    """The spans of one user in one conversation, as of ``rev``."""

    rev: int
    spans: Spans


@frozen
class Arrival:
    """Answer to a `hello`, read in one transaction: the newest version of the user, and the hot conversations that the
    user is a member of, each with its head and the user's spans as of that head."""

    epoch: str
    version: int
    rooms: Mapping[str, Membership]


@frozen
class Present:
    """The present members among those asked for, with their spans, as of the conversation's head ``rev``; and when it
    last turned hot (ms)."""

    rev: int
    spans: Mapping[str, Spans]
    hot_at: int = 0


@frozen
class LogPage:
    """What brings a conversation from one rev to ``reach``, read in one transaction: newest states in order of rev.

    ``later``: the memberships stamped above ``reach``, by user. A log row holds the newest state alone, so they may say
    that somebody was away for what these pushes hold. None: too many to tell.
    """

    pushes: Sequence[Push]
    reach: int
    later: Mapping[str, Membership] | None


@frozen
class Heads:
    """Answer to the check: the newest version of each user, the newest rev of each conversation asked for; and all hot
    conversations in which something has happened since the time asked for, each with its newest rev and the time at
    which it turned hot: those up to ``until`` (ms); ``more`` came after it."""

    versions: Mapping[str, int]
    rooms: Mapping[str, int]
    epoch: str
    hot: Mapping[str, tuple[int, int]]
    until: int
    more: bool = False


class ImService(Protocol):
    """What was said?"""

    async def version(self, user: str) -> tuple[str, int]:
        """(epoch, newest version) of one user, as committed now."""
        ...

    async def arrival(self, user: str) -> Arrival:
        """What a node must know of a user who says `hello`, as committed at one moment."""
        ...

    async def heads(self, users: Sequence[str], rooms: Sequence[str], hot_since: int) -> Heads:
        """The paged question that each node asks once per heartbeat. At most 1,000 users and 1,000 rooms a call;
        ``hot_since`` in ms since 1970; about 1,000 conversations are told for it, the earliest first."""
        ...

    async def present(self, conversation: str, users: Sequence[str]) -> Present:
        """Which of these users are members now. At most 1,000 users a call."""
        ...

    async def gap(self, conversation: str, after: int, upto: int) -> LogPage:
        """What brings a member from rev ``after`` towards ``upto``; bounded: ``reach`` tells how far it came."""
        ...

    async def audience(self, user: str, conversation: str) -> Sequence[str]:
        """The other members, for volatile notes (typing); empty for hot rooms; `NotFound` for a non-member,
        `NotPermitted` where the user may not speak."""
        ...

    async def acquainted(self, asked: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """Who may be shown whose presence, as committed at one moment: of the others given for each user those whom
        the user may see. They are friends or members of a common conversation, and neither has blocked the other."""
        ...


# --- gateway ----------------------------------------------------------------------------------------------------


@frozen
class Delivery:
    """Pushes of one conversation (or of one user's own list) for a node, in order.

    ``users`` maps each recipient to the version that this delivery brings him (0: none). ``users`` None: a hot
    conversation; the node knows which of its users are in it. ``first``/``last``: the revs covered, 0/0 for a user's
    own changes.

    ``members``: the conversation turns hot after ``last``, at the time ``hot_at`` (ms); the spans of its members, as of
    ``last``. The router keeps those of the node's users. ``later``: see `LogPage`; empty when the pushes are those that
    the changes made.

    ``parted``: users who have left, are no friends any more or have blocked somebody by these pushes: what is shown of
    them, and to them, because somebody knew them is asked about again.

    ``epoch``: the store's when these numbers were read; a node that knows of another drops the delivery. Empty where
    there are no numbers.
    """

    pushes: Sequence[Push]
    users: Mapping[str, int] | None
    conversation: str | None = None
    first: int = 0
    last: int = 0
    members: Mapping[str, Spans] | None = None
    later: Mapping[str, Membership] | None = field(factory=dict)
    hot_at: int = 0
    parted: Sequence[str] = ()
    epoch: str = ""


Deliver = Callable[[Sequence[Delivery]], Awaitable[None]]
"""Takes deliveries to the nodes of their receivers: what the router does."""


@frozen
class CloseSessions:
    """Which sessions to end: all that match every field given. The session is over (not resumable)."""

    code: int
    reason: str
    reconnect: Literal["resume", "sync", "never"]
    user: str | None = None
    device: str | None = None
    token: str | None = None
    session: str | None = None
    except_session: str | None = None
    except_token: str | None = None


@frozen
class SessionPush:
    """One counted push to one session (a waiting guest), which is on the node of that name."""

    session: str
    node: str
    push: Push


@frozen
class EphemeralNote:
    """A volatile note to all live sessions of these users; dropped where a socket is slow."""

    users: Sequence[str]
    event: str
    data: Any


@frozen
class Movements:
    """Users a connection of whom has come to another node, or is gone from there. A hint: whoever wants to know whether
    they are online asks."""

    came: Sequence[str] = ()
    left: Sequence[str] = ()


class GatewayService(Protocol):
    """Who is on this wire?"""

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Put pushes into the windows of the sessions concerned. Idempotent by rev; never waits for a socket."""
        ...

    async def tell(self, request: SessionPush) -> bool:
        """Push to the session; False when it is not here any more."""
        ...

    async def note(self, request: EphemeralNote) -> None:
        """Send the note to those of its users who are here."""
        ...

    async def close(self, request: CloseSessions) -> int:
        """Say `bye` and end matching sessions; how many there were."""
        ...

    async def online(self, users: Sequence[str]) -> Sequence[str]:
        """Which of these users have a session with a live socket on this node."""
        ...

    async def moved(self, movements: Movements) -> None:
        """Look again after those of them who are watched here."""
        ...

    async def missed(self, count: int) -> None:
        """So many deliveries, or more, did not reach this node: run the check now, not at the next heartbeat."""
        ...


class RelayService(Protocol):
    """The outbox's relay of a node, for the other nodes."""

    async def look(self, rows: int) -> None:
        """About so many rows were committed on another node, some of which may be this one's to carry."""
        ...


# --- router -----------------------------------------------------------------------------------------------------


class RouterService(Protocol):
    """Where do they sit, and did it arrive?"""

    async def acknowledged(self, seqs: Mapping[str, Mapping[str, int]]) -> None:
        """Devices have acknowledged, user → conversation → seq: drops pending offline pushes."""
        ...

    async def note(self, request: EphemeralNote) -> None:
        """A volatile note to its users wherever they sit."""
        ...

    async def close(self, request: CloseSessions) -> int:
        """End matching sessions on every node; a node that does not answer ends those whose login is over by itself,
        within a second or two."""
        ...

    async def tell(self, request: SessionPush) -> bool:
        """One push to one session on that node; False too when the node does not answer."""
        ...

    async def elsewhere(self, users: Sequence[str]) -> Sequence[str]:
        """Which of these users have a live socket on another node. `Unavailable` while the directory is away."""
        ...

    async def moved(self, movements: Movements) -> None:
        """Tell the other nodes who has come to this one, or left it. Does not wait for them."""
        ...


# --- the pipeline -----------------------------------------------------------------------------------------------


class Dispatcher(Protocol):
    """Runs commands through the real pipeline, for every transport alike."""

    async def call(self, caller: Caller, command: str, params: msgspec.Raw | Mapping[str, Any] | None) -> Any:
        """The reply record (an attrs object that the codec encodes); raises `ChatError`.

        Unknown command → `Invalid` before rights are asked; a guest's call of a command that is not for guests →
        `NotAuthenticated`. A second call of (user, ref) while the first runs waits for it and gets the same result.
        """
        ...

    def charge(self, caller: Caller, command: str | None = None) -> None:
        """Take the points that a call of this command costs, or what is none (1 point); raises `RateLimited`.

        A transport charges for whatever a client sends, before it looks at it: what is invalid or fails costs as much.
        """
        ...

    @property
    def submit_in_order(self) -> bool:
        """True when nothing between `call` and the writer's queue waits, so that calls begun in order are stored in
        order; False when an asynchronous interceptor stands there: then the gateway runs a session's submits to one
        conversation one after the other."""
        ...

    def intercept(self, point: Literal["frame_in", "push"], caller: Caller | None, value: Any) -> Any:
        """Runs the synchronous interceptors of a hot point; raises `ChatError` to refuse (a push: to drop it)."""
        ...
