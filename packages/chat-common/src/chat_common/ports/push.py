"""Offline push: tell a person who is away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

from attrs import field, frozen


@frozen
class Notification:
    """What one person is told of one conversation: never more than a preview.

    ``collapse`` replaces an earlier notification of the same key; ``ttl`` is for how many seconds the platform keeps it
    for a device that is off. ``urgent``: worth waking a device for.
    """

    user: str
    conversation: str
    seq: int
    title: str
    text: str
    collapse: str
    ttl: int = 86_400
    urgent: bool = True


@frozen
class Address:
    """Where one device is reached. ``values`` is what its client subscribed with: a stranger wrote it."""

    device: str
    values: Mapping[str, Any]


class Result(Enum):
    """What became of a notification for one address."""

    DELIVERED = "delivered"
    """The platform has taken it."""
    GONE = "gone"
    """The address is dead, and is dropped."""
    LATER = "later"
    """Not now: it is tried again."""
    REFUSED = "refused"
    """This notification will never be taken for this address; the address stays."""


@frozen
class Outcome:
    """``retry_after``: seconds after which a `Result.LATER` may be tried again, where the platform said so. ``reason``
    is for the log: never text of a message, and never an address."""

    result: Result
    retry_after: float | None = field(default=None)
    reason: str = ""


class PushProvider(Protocol):
    """At least once, collapsed by key. An address that fails never keeps its neighbours from being told.

    A provider that inherits from this class needs no more than `send`.
    """

    def public(self) -> Mapping[str, str]:
        """What a client has to know in order to subscribe, such as the server's public key; told to every user."""
        return {}

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise `Invalid` for what no client of this platform subscribes with: it is never stored. Does not wait."""
        return

    async def send(self, notification: Notification, addresses: Sequence[Address]) -> Sequence[Outcome]:
        """Send to every address, and return an outcome for each, in the same order. Raises nothing for what a platform
        answers or an address contains; whatever it raises all the same counts as `Result.LATER` for all of them."""
        ...
