"""A login for a device of somebody whom the application around the server names at each connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import evolve, frozen
from chat_common.ports.database import Database
from sqlalchemy import Connection, select

from chat_server.auth.issue import Issuer
from chat_server.auth.policy import Newcomer
from chat_server.auth.signer import Claims, TokenSigner
from chat_server.services import Credentials, Identity, VouchedUser
from chat_server.store.account_schema import login, token
from chat_server.store.rights import lives

PROVIDER = "identify"
Authenticated = Callable[[Credentials], Awaitable[Identity]]


@frozen
class Vouch:
    """The use case of `AuthService.vouched`."""

    database: Database
    issuer: Issuer
    signer: TokenSigner
    authenticate: Authenticated

    async def __call__(self, who: VouchedUser) -> Identity:
        """See `chat_server.services.AuthService.vouched`. The token is for the server alone."""
        now = self.issuer.ports.clock.wall_ms()
        claims = await self.database.read(lambda connection: _newest(connection, who.user, who.device, now))
        if claims is not None:
            text = self.signer.sign(claims)
        else:
            newcomer = Newcomer(who.device, who.platform, who.name, who.address)
            text = (await self.issuer.log_in(who.user, newcomer, PROVIDER)).token
        identity = await self.authenticate(Credentials(text, who.device, who.platform, who.name))
        return evolve(identity, vouched=True)


def _newest(connection: Connection, user: str, device: str, now: int) -> Claims | None:
    """The newest token of the device's login, which lives."""
    row = connection.execute(
        select(token, login.c.user)
        .join(login, login.c.login == token.c.login)
        .where(login.c.user == user, login.c.device == device, login.c.provider == PROVIDER, lives(now))
        .where(token.c.expires_at > now, token.c.replaced_by.is_(None))
        .order_by(token.c.issued_at.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Claims(row.user, row.token, row.login, row.issued_at, row.expires_at, None)
