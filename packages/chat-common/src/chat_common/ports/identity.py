"""Identity: how a person proves who they are."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import field, frozen


@frozen
class Ticket:
    """A login that has begun, bound to the waiting session. ``url`` is shown as a QR picture."""

    ticket: str
    url: str
    expires_in: float
    extra: dict[str, Any] = field(factory=dict)


@frozen
class Waiting:
    """Who waits for a login: shown to the one who confirms."""

    session: str | None
    device: str | None
    device_name: str | None
    address: str | None


class IdentityProvider(Protocol):
    """One login method. It proves an identity; tokens are made by auth alone."""

    name: str
    title: str

    async def begin(self, waiting: Waiting) -> Ticket:
        """Begin a login by ticket; `NotPermitted` for providers that need none (password, dev)."""
        ...
