"""The broker: carries records from the outbox to consumers, at least once, in order per key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from attrs import field, frozen


@frozen
class BrokerRecord:
    """One record on its way. ``id`` is the idempotency key: the same at every redelivery.

    ``attempt`` counts from 1. ``live`` is an object that rode along inside this process, or None.
    """

    topic: str
    key: str
    payload: bytes
    id: str
    attempt: int = 1
    headers: dict[str, str] = field(factory=dict)
    live: Any = None


Handler = Callable[[Sequence[BrokerRecord]], Awaitable[None]]
"""Takes a batch of one shard, in order per key. Returns: all handled. Raises: none is; the batch comes again."""


class Broker(Protocol):
    """Guarantees of every backend: at least once; per (topic, key) in the order of `publish`; one consumer of a group
    owns a key's shard at a time; a record whose handler raises or dies is delivered again before its successors of
    that key; groups are independent of each other. May lose what it accepted when its own storage is lost: the
    server's sweeper heals that. Back-pressure: `publish` waits when the backend is full.
    """

    async def publish(self, records: Sequence[BrokerRecord], *, delay: float = 0.0) -> None:
        """Hand records over; returns when the backend has taken them. ``delay`` is in seconds (≥)."""
        ...

    def subscribe(
        self, topic: str, group: str, handler: Handler, *, batch: int = 100
    ) -> AbstractAsyncContextManager[None]:
        """Deliver the topic's records to ``handler`` while the context is open; leaving it lets the running batch end."""
        ...

    async def ready(self) -> None:
        """Returns when the backend can be reached; else raises `Unavailable` saying what is wrong."""
        ...
