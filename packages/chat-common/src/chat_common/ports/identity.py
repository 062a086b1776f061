"""Identity: how a person proves who they are, and how a proof reaches the screen that waits for it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

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
    """Where the person proves who they are; shown as a QR picture.

    ``warning``: why that may not work, for people. ``lifetime``: seconds for which the login waits; a scan needs two
    minutes, a password and a second factor at another site ten.
    """

    url: str
    warning: str | None = None
    lifetime: float = 120.0


@frozen
class Proof:
    """A proven identity: ``subject`` is unique within ``provider`` and never changes; ``name`` is for a new user.

    ``avatar``: an https address of a picture, or None. ``aliases``: further (provider, subject) pairs of the same
    person, for example an id that several applications of one owner share.
    """

    provider: str
    subject: str
    name: str
    avatar: str | None = None
    aliases: tuple[tuple[str, str], ...] = ()


@frozen
class Attempt:
    """Who tries to log in, for the limits of a provider. ``address``: as the server sees it; None inside the process.
    ``device``: the id that the device gives itself."""

    address: str | None = None
    device: str | None = None


class IdentityProvider(Protocol):
    """One login method. It proves an identity; tokens are made by auth alone.

    Every provider is a `DirectIdentity` or a `TicketIdentity`. ``name``: what clients say, as in the configuration:
    a lower-case letter, then letters, digits or ``_``, at most 32. ``title``: for people.
    """

    name: str
    title: str


@runtime_checkable
class DirectIdentity(IdentityProvider, Protocol):
    """The person sends credentials, which prove the identity at once: a password, a directory, an application's users.

    The server makes the command ``auth.NAME`` of it, whose parameters are the fields of ``credentials`` (an attrs class
    read by msgspec, fields by keyword) beside ``device`` and ``replace``; its answer is a token. It counts the attempts
    from one address before it asks the provider.
    """

    credentials: type[Any]

    async def prove(self, credentials: Any, attempt: Attempt) -> Proof:
        """Return the proven identity. ``credentials`` is an instance of `credentials`, or of a subclass.

        `NotAuthenticated`: wrong, without telling which part; `RateLimited`: too many attempts for this account;
        `Unavailable`: whatever knows the answer does not answer. Called at once for many logins; cancelling it leaves
        nothing behind.
        """
        ...


@runtime_checkable
class TicketIdentity(IdentityProvider, Protocol):
    """The person proves the identity elsewhere, on a phone or at a platform, while a screen waits with a ticket."""

    async def begin(self, waiting: Waiting) -> Link:
        """A login begins: the link that leads to it, of at most 2,048 characters and different for each code.

        Called at once for many logins. What the person does there the provider tells `Logins`, by ``waiting.code``.
        `Unavailable` when the provider's platform does not answer.
        """
        ...


class Logins(Protocol):
    """The logins that wait; the server provides it to identity providers (``await context.get(Logins)``).

    It is made of the providers, so none has it while it opens: ask in `begin`, in a route, or in a task.

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
