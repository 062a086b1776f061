"""The outbox: how every effect of a committed change leaves the database."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec
from attrs import frozen

from chat_common.errors import Invalid
from chat_common.validation import check_text, exact_json

if TYPE_CHECKING:
    from chat_common.records import Consumer, Ensured

ENSURED_TOPIC = "ensured"
"""The topic whose records name a registered function: see `ensured_entry`."""
TOPIC_LIMIT, KEY_LIMIT, DELAY_LIMIT = 64, 255, 10 * 365 * 86_400
"""Characters of a topic and of a key, seconds of a delay at most: see `checked`."""
PAYLOAD_LIMIT = 1_048_576
"""Bytes of a payload at most (1 MiB): every broker takes that with room for what it adds."""


@frozen
class OutboxEntry:
    """One intent: ``payload`` (JSON bytes) goes to ``topic``, in order among those of the same ``key``.

    ``delay`` is in seconds. ``inline`` is never stored: an object that handlers in this process may get with the
    record, and must be able to do without.
    """

    topic: str
    key: str
    payload: bytes
    delay: float = 0.0
    inline: Any = None


class Outbox(Protocol):
    """At least once, in commit order per key, after commit only; never if the transaction rolled back."""

    def write(self, connection: Any, entries: Sequence[OutboxEntry]) -> Sequence[Any]:
        """Insert the rows in the caller's transaction (synchronous; any thread). Returns tokens for `committed`.

        One statement for all entries; none of them is written when one is refused: `Invalid`, as `checked` says.
        Nothing is sent. The tokens are opaque; those of a transaction that was rolled back are just forgotten.
        """
        ...

    def committed(self, tokens: Sequence[Any]) -> None:
        """The transaction that wrote them is committed: hand over at once (event loop thread, does not block).

        Optional for correctness: rows nobody reported are found by the relay.
        """
        ...


class Relay(Protocol):
    """Carries committed rows of the outbox to their consumers."""

    def running(self, consumers: Sequence[Consumer], ensured: Sequence[Ensured]) -> AbstractAsyncContextManager[None]:
        """Deliver while the context is open.

        Enter it once everything that handlers need is up; leave it before any of that goes. Entering takes over what
        an earlier process left behind. Leaving lets running handlers end, and hands over for a short while what is
        committed already; the rest waits in the table for the next start.
        """
        ...

    def outcomes(self) -> Mapping[tuple[str, str, str], int]:
        """How often, since the start and in this process, records of a (topic, group) were ``handled``, ``failed`` (an
        attempt that will be followed by another), ``buried`` or ``parked``."""
        ...

    def in_flight(self) -> Mapping[str, int]:
        """Rows by topic that this process has handed over and that are not handled yet."""
        ...

    def notify(self, others: Callable[[], None] | None) -> None:
        """Call ``others`` (None: nobody) whenever rows were reported here that another process is to carry."""
        ...

    def look(self) -> None:
        """Another process has reported rows that may be for this one to carry: read them now, not at the next scan. A
        hint: what it is not told of is found by the scans."""
        ...


@frozen
class DeadLetter:
    """A record that a group gave up. ``state``: ``buried`` (its key went on), or ``parked`` (its key waits for it).

    ``reason`` is the traceback's last line. Times are ms since 1970; ``payload`` is what was written to the outbox.
    """

    id: str
    state: Literal["buried", "parked"]
    topic: str
    group: str
    key: str
    attempts: int
    reason: str
    time: int
    payload: bytes


@frozen
class GroupStatus:
    """A consumer group. ``running``: some live process runs it; ``seen``: seconds since one noted that it does (every
    few minutes); ``waiting``: rows kept for it while nobody does."""

    topic: str
    group: str
    running: bool
    seen: float
    waiting: int


@frozen
class OutboxStatus:
    """How much waits: rows by topic, the oldest row's age in seconds (None: there is none), what was given up."""

    depth: Mapping[str, int]
    oldest: float | None
    parked: int
    buried: int
    groups: Sequence[GroupStatus] = ()


class DeadLetters(Protocol):
    """What consumers gave up, for an operator: look at it, try it again, drop it."""

    async def list(
        self, *, topic: str | None = None, limit: int = 50, after: str | None = None
    ) -> Sequence[DeadLetter]:
        """Newest first, at most ``limit``; ``after`` is the last id of the page before."""
        ...

    async def show(self, id: str) -> DeadLetter:
        """One of them; `NotFound`."""
        ...

    async def replay(self, ids: Sequence[str]) -> int:
        """Try again, for its group alone: a buried record as a new one of its key, a parked one where it stands, with
        all that waits behind it. How many there were; unknown ids are passed over."""
        ...

    async def drop(self, ids: Sequence[str]) -> int:
        """Forget. A parked record: its key goes on with the next one. How many there were."""
        ...

    async def status(self) -> OutboxStatus: ...

    async def forget(self, topic: str, group: str) -> bool:
        """Forget a group that no process will run again: rows no longer wait for it. False: it was not known."""
        ...


def checked(entry: OutboxEntry) -> OutboxEntry:
    """The entry itself; `Invalid` (with field and limit) when it could not be written, or never be carried out.

    Topic 1 to 64 and key 1 to 255 characters, no NUL or lone surrogate in them; payload at most 1 MiB; delay 0 to ten
    years.
    """
    check_text(entry.topic, "topic", TOPIC_LIMIT)
    check_text(entry.key, "key", KEY_LIMIT)
    if not 0 <= entry.delay <= DELAY_LIMIT:
        message = f"The delay is {entry.delay} s; it must be 0 to {DELAY_LIMIT} s."
        raise Invalid(message, field="delay", limit=DELAY_LIMIT)
    if not isinstance(entry.payload, bytes):
        raise Invalid(f"The payload must be bytes, not {type(entry.payload).__name__}.", field="payload")
    if len(entry.payload) > PAYLOAD_LIMIT:
        message = f"The payload has {len(entry.payload)} bytes; at most {PAYLOAD_LIMIT} are allowed."
        raise Invalid(message, field="payload", limit=PAYLOAD_LIMIT)
    return entry


def ensured_entry(ensured: Ensured, arguments: Any, *, key: str = "", delay: float = 0.0) -> OutboxEntry:
    """The entry that runs ``ensured`` after commit, at least once, in order among those of the same ``key``.

    Without a ``key`` it stands by itself: no other call waits for it. ``arguments`` is an instance of its arguments
    class; `Invalid` if it would not be readable as one, or for a key, size or delay that `checked` refuses.
    """
    encoded = exact_json(arguments, "arguments")
    try:
        msgspec.json.decode(encoded, type=ensured.arguments)
    except (msgspec.MsgspecError, TypeError) as error:
        raise Invalid(f"The arguments of {ensured.name} do not fit their class: {error}", field="arguments") from error
    call = {"name": ensured.name, "version": ensured.version, "arguments": msgspec.Raw(encoded)}
    return checked(OutboxEntry(ENSURED_TOPIC, key or secrets.token_hex(12), msgspec.json.encode(call), delay))
