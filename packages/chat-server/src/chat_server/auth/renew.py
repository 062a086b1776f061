"""``auth.refresh``, and the renewal that a live session is pushed: a successor, the same as often as it is asked.

An answer that is lost must not log anybody out, so a token that was renewed gives the same successor again until that
one is used, and for a grace after that, since another tab may hold the old one. Shown later it was stolen, or its
thief holds the new one: the login ends.
"""

from __future__ import annotations

from attrs import define, frozen
from chat_common.errors import NotAuthenticated
from chat_common.records import Caller
from sqlalchemy import Connection, Row, select

from chat_server.auth.authenticate import SUCCESSOR, end_reused
from chat_server.auth.bans import refuse_banned
from chat_server.auth.endings import Endings, why_ended
from chat_server.auth.logins import lock_user, renewed
from chat_server.auth.neighbours import Ports
from chat_server.auth.requests import Nothing
from chat_server.auth.settings import AuthSettings
from chat_server.auth.signer import Claims, TokenSigner
from chat_server.services import Identity, Renewed
from chat_server.store.account_schema import login, token
from chat_server.store.executor import caller_user


@define(kw_only=True)
class Issued:
    """A token and its end in ms since 1970."""

    token: str
    expires_at: int


@frozen
class Reused:
    """The token was retired too long ago."""

    claims: Claims


_ROW = (
    select(
        login,
        token.c.token,
        token.c.issued_at,
        token.c.expires_at.label("token_expires_at"),
        token.c.replaced_by,
        SUCCESSOR.c.used_at.label("retired_at"),
    )
    .join(token, token.c.login == login.c.login)
    .join(SUCCESSOR, SUCCESSOR.c.token == token.c.replaced_by, isouter=True)
)


@frozen
class Renewal:
    """Renews tokens, one transaction each, which has locked the user."""

    ports: Ports
    settings: AuthSettings
    signer: TokenSigner
    endings: Endings

    async def refresh(self, caller: Caller, request: Nothing) -> Issued:
        """``auth.refresh``: a token that outlives the one of the caller.

        Its answer is kept nowhere: asked again, the same successor is signed again.
        """
        user = caller_user(caller)
        if caller.token is None or caller.jti is None:
            raise NotAuthenticated("token: Only a caller with a token can renew it.", field="token")
        claims = await self._renew(user, caller.token, caller.jti)
        return Issued(token=self.signer.sign(claims), expires_at=claims.expires_at)

    async def renew(self, who: Identity) -> Renewed:
        """See `chat_server.services.AuthService.renew`. The push does not count as a use: it may be lost."""
        claims = await self._renew(who.user.user, who.token, who.jti)
        fresh = Identity(who.user, who.device, claims.login, claims.expires_at, claims.token)
        return Renewed(self.signer.sign(claims), fresh)

    async def _renew(self, user: str, family: str, jti: str) -> Claims:
        now = self.ports.clock.wall_ms()

        def write(connection: Connection) -> Claims | Reused:
            lock_user(connection, user)
            refuse_banned(connection, user, now)
            row = self._row(connection, jti)
            if row is None or (row.user, row.login) != (user, family):
                raise NotAuthenticated("token: The token is not known here.", field="token")
            if row.ended_at is not None:
                raise why_ended(row.ended_by)
            if row.ends_at is not None and row.ends_at <= now:
                raise why_ended("expired")
            if row.retired_at is not None and row.retired_at + round(self.settings.grace * 1000) < now:
                return Reused(self._claims(row))
            while row.replaced_by is not None:
                found = self._row(connection, row.replaced_by)
                if found is None:
                    raise NotAuthenticated("token: The token is not known here.", field="token")
                row = found
                if row.token_expires_at > now and row.replaced_by is None:
                    return self._claims(row)
            return renewed(connection, row, self.settings, now)

        outcome = await self.ports.database.change(write)
        if isinstance(outcome, Reused):
            await end_reused(self.ports.database, self.endings, outcome.claims, now)
            raise why_ended("reuse")
        return outcome

    @staticmethod
    def _row(connection: Connection, name: str) -> Row[tuple[object, ...]] | None:
        return connection.execute(_ROW.where(token.c.token == name)).one_or_none()

    @staticmethod
    def _claims(row: Row[tuple[object, ...]]) -> Claims:
        it = row._mapping
        return Claims(it["user"], it["token"], it["login"], it["issued_at"], it["token_expires_at"], it["audience"])
