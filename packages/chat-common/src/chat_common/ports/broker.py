"""The broker: carries records from the outbox to consumers, at least once, in order per key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

from attrs import field, frozen


@frozen
class BrokerRecord:
    """One record on its way. ``id`` is the idempotency key: the same at every redelivery.

    ``attempt`` counts from 1. ``inline`` is an object that the writer gave
    along for handlers in its own process, or None: it is not stored, and not there after a scan.
    """

    topic: str
    key: str
    payload: bytes
    id: str
    attempt: int = 1
    headers: dict[str, str] = field(factory=dict)
    inline: Any = None


Handler = Callable[[Sequence[BrokerRecord]], Awaitable[None]]
"""Takes a batch of one shard, in order per key. Returns: all handled. Raises `NotHandled`: those records are not.
Raises anything else: none is; the batch comes again."""


class NotHandled(Exception):
    """Raised by a handler that handled only a part of its batch.

    ``failed`` come again with the next attempt, after ``retry_in`` seconds (None: the backend's own back-off);
    ``later`` were not tried: they come again too, behind the failed ones of their keys, their attempt unchanged. All
    others of the batch are handled. ``errors`` says why, by record id.
    """

    def __init__(
        self,
        failed: Sequence[BrokerRecord],
        later: Sequence[BrokerRecord] = (),
        retry_in: float | None = None,
        errors: Mapping[str, Exception] | None = None,
    ) -> None:
        super().__init__(f"{len(failed)} records failed, {len(later)} wait behind them")
        self.failed = failed
        self.later = later
        self.retry_in = retry_in
        self.errors = errors or {}


@frozen
class Refusal:
    """A record that a backend will not take, however often it is published, and why (one line, no payload).

    ``fault`` says where the fault lies: in the ``record`` itself (too large, an illegal character), which nothing can
    help; or in its ``topic`` (missing, of the wrong kind, not permitted), of which nothing is taken until an operator
    has mended it.
    """

    record: BrokerRecord
    reason: str
    fault: Literal["record", "topic"] = "record"


class RecordsRefused(Exception):
    """Raised by `Broker.publish` when the backend is well and refuses some of the records for good.

    All other records of the call are taken, in order per key: only those of ``refusals`` are not.
    """

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        super().__init__(f"{len(refusals)} records are refused, the first one because {refusals[0].reason}")
        self.refusals = refusals


class Broker(Protocol):
    """Guarantees of every backend: at least once; per (topic, key) in the order of `publish`; one consumer of a group
    owns a key's shard at a time; a record whose handler raises or dies is delivered again before its successors of
    that key; groups are independent of each other. May lose what it accepted when its own storage is lost: the
    server's sweeper heals that. Back-pressure: `publish` waits when the backend is full.
    """

    async def publish(self, records: Sequence[BrokerRecord], *, delay: float = 0.0) -> None:
        """Hand records over; returns when the backend has taken them. ``delay`` is in seconds (≥).

        `Unavailable`: the backend cannot be reached or has no room now; any part of the records may have been taken,
        so publish all of them again. `RecordsRefused`: some will never be taken, all the others are. When both are so,
        it says `Unavailable` first.
        """
        ...

    def subscribe(
        self, topic: str, group: str, handler: Handler, *, batch: int = 100
    ) -> AbstractAsyncContextManager[None]:
        """Deliver the topic's records to ``handler`` while the context is open; leaving lets the running batch end."""
        ...

    def provision(self, topics: Iterable[str], groups: Iterable[str]) -> Mapping[str, Any]:
        """What an operator must make before these topics and groups can be used: JSON documents by what they make.
        Empty when nothing is needed. Does not ask the backend."""
        ...

    async def ready(self) -> None:
        """Returns when the backend can be reached; else raises `Unavailable` saying what is wrong."""
        ...
