"""The outbox: how every effect of a committed change leaves the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from attrs import frozen


@frozen
class OutboxEntry:
    """One intent: ``payload`` (JSON bytes) goes to ``topic``, in order among those of the same ``key``.

    ``delay`` is in seconds. ``live`` is never stored: an object that may ride along inside this process (a handler
    must do without it).
    """

    topic: str
    key: str
    payload: bytes
    delay: float = 0.0
    live: Any = None


class Outbox(Protocol):
    """At least once, in commit order per key, after commit only; never if the transaction rolled back."""

    def write(self, connection: Any, entries: Sequence[OutboxEntry]) -> Sequence[Any]:
        """Insert the rows in the caller's transaction (synchronous; any thread). Returns tokens for `committed`.

        One statement for all entries. Nothing is sent. The tokens are opaque.
        """
        ...

    def committed(self, tokens: Sequence[Any]) -> None:
        """The transaction that wrote them is committed: hand over at once (event loop thread, does not block).

        Optional for correctness: rows nobody reported are found by the relay.
        """
        ...

    def rolled_back(self, tokens: Sequence[Any]) -> None:
        """The transaction is gone: forget the tokens."""
        ...
