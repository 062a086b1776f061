"""Whose request this is: by its token, or by what the application around the server says."""

from __future__ import annotations

from attrs import evolve, frozen
from chat_common.errors import NotAuthenticated
from chat_common.records import Caller
from starlette.requests import Request

from chat_server.services import AuthService, Credentials
from chat_server.transports.asgi import Vouch


@frozen
class Callers:
    """``vouched`` None: the application says nothing, and whoever has no token is a guest."""

    auth: AuthService
    vouched: Vouch | None = None

    async def of(self, request: Request, guest: Caller) -> Caller:
        """Return the guest, or who it is. `NotAuthenticated`, `NotPermitted` (banned)."""
        token = _token(request)
        if token is not None:
            known = await self.auth.authenticate(Credentials(token))
            return evolve(guest, user=known.user.user, device=known.device or None, token=known.token, jti=known.jti)
        user = None if self.vouched is None else await self.vouched(request)
        return guest if user is None else evolve(guest, user=user)


def _token(request: Request) -> str | None:
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotAuthenticated("Authorization: Bearer TOKEN is what is understood here")
    return token.strip()
