"""Identity: how a person proves who they are, and how a proof reaches the screen that waits for it."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen


@frozen
class Waiting:
    """Who waits for a login: shown to the person who confirms it.

    ``code`` names this login in the provider's own link. Whoever knows it can look at the login and confirm it as
    himself, but cannot collect the token: that takes the waiting client's ticket, which is never handed on.
    ``begun_at`` in ms since 1970.
    """

    code: str
    device: str | None
    device_name: str | None
    platform: str | None
    address: str | None
    begun_at: int


@frozen
class Link:
    """Where the person proves who they are; shown as a QR picture. ``warning``: why that may not work, for people."""

    url: str
    warning: str | None = None


@frozen
class Proof:
    """A proven identity: ``subject`` is unique within ``provider`` and never changes; ``name`` is for a new user."""

    provider: str
    subject: str
    name: str


class IdentityProvider(Protocol):
    """One login method. It proves an identity; tokens are made by auth alone.

    ``name``: what clients say, as in the configuration. ``title``: for people. ``tickets``: whether `begin` works;
    providers without tickets (password, dev) have commands of their own.
    """

    name: str
    title: str
    tickets: bool

    async def begin(self, waiting: Waiting) -> Link:
        """A login begins: the link that leads to it, of at most 2,048 characters and different for each code.

        Called at once for many logins. What the person does there the provider tells `Logins`, by ``waiting.code``.
        `Invalid` for providers without tickets; `Unavailable` when the provider's platform does not answer.
        """
        ...


class Logins(Protocol):
    """The logins that wait; the server provides it to identity providers (``await context.get(Logins)``).

    Works on every node alike. Each login is decided once: of all that race exactly one gets True.
    """

    async def waiting(self, code: str) -> Waiting | None:
        """Who waits under this code; None when unknown, over its time, or decided."""
        ...

    async def scanned(self, code: str) -> None:
        """Somebody has opened the link: the waiting screen shows it. Repeated or late: nothing happens."""
        ...

    async def succeed(self, code: str, proof: Proof) -> bool:
        """The person is proven and has confirmed: the waiting screen is logged in, the user made at first use.

        False: decided before, over its time, or the screen is gone. `NotPermitted`: banned, or new where registration
        is not open.
        """
        ...

    async def refuse(self, code: str) -> bool:
        """The person has said no; False as with `succeed`."""
        ...
