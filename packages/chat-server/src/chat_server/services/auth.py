"""What auth offers: who are you, and may you?"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen
from chat_common.errors import NotAuthenticated
from chat_common.wire import User


@frozen
class Identity:
    """A proven caller. ``token`` names the login, which stays the same through all renewals; ``jti`` is the id of the
    token that was shown. ``expires_at`` in ms since 1970. ``vouched``: the application around the server names the
    caller at each connection, and the client has no token."""

    user: User
    device: str
    token: str
    expires_at: int
    jti: str = ""
    vouched: bool = False


class LoginEnded(NotAuthenticated):
    """The token's login was ended; ``close_code`` is what a session of it is closed with."""

    carried = ("close_code",)

    def __init__(self, message: str, *, close_code: int) -> None:
        super().__init__(message, field="token")
        self.close_code = close_code


@frozen
class Credentials:
    """What a caller shows: its token, and in a `hello` which device it is. ``device`` empty: whichever the token is
    bound to."""

    token: str
    device: str = ""
    platform: str | None = None
    name: str | None = None


@frozen
class VouchedUser:
    """A user for whom the application around the server vouches, on a device that says `hello` without a token."""

    user: str
    device: str
    platform: str | None = None
    name: str | None = None
    address: str | None = None


@frozen
class Renewed:
    """A fresh token, and whom it names."""

    token: str
    identity: Identity


class AuthService(Protocol):
    """Who are you, and may you?"""

    async def authenticate(self, shown: Credentials) -> Identity:
        """The token's identity, its device noted as seen. `NotAuthenticated`: invalid, expired, or of another device;
        `LoginEnded`: ended; `NotPermitted`: banned; `Conflict`: the policy keeps this device out."""
        ...

    async def vouched(self, who: VouchedUser) -> Identity:
        """The identity of the device: a login of its own, the same one again while it lives. Errors as with
        `authenticate`."""
        ...

    async def renew(self, identity: Identity) -> Renewed:
        """A fresh token of the same login and its identity, for the `token` push in good time. Asked again before
        that token was used, the answer is the same. Errors as with `authenticate`."""
        ...
