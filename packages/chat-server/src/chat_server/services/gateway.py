"""What the gateway of a node offers, and the relay beside it: who is on this wire?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from attrs import field, frozen
from chat_common.records import Push

from chat_server.services.im import Membership, Spans


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


@frozen
class MetricsAsked:
    """Nothing is said yet."""


class MetricsService(Protocol):
    """The numbers of a process without a port of its own."""

    async def text(self, asked: MetricsAsked) -> str:
        """In Prometheus' text format."""
        ...


class RelayService(Protocol):
    """The outbox's relay of a node, for the other nodes."""

    async def look(self, rows: int) -> None:
        """About so many rows were committed on another node, some of which may be this one's to carry."""
        ...
