"""A login that was made for a screen that polls: its token, as long as the login lives."""

from __future__ import annotations

from attrs import frozen
from chat_common import wire
from sqlalchemy import Connection, select

from chat_server.auth.endings import Endings
from chat_server.auth.logins import LoggedIn, end, signed
from chat_server.auth.neighbours import Ports
from chat_server.auth.signer import Claims, TokenSigner
from chat_server.store import views
from chat_server.store.account_schema import login
from chat_server.store.rights import lives


@frozen
class Collector:
    """Hands out the first token of a login that somebody else's press has made."""

    ports: Ports
    signer: TokenSigner
    endings: Endings

    def login_of(self, token: str) -> str:
        """Return the login that a token belongs to."""
        return self.signer.read(token).login

    async def collect(self, name: str) -> LoggedIn | None:
        """Return the first token of this login; None when it was ended meanwhile."""
        now = self.ports.clock.wall_ms()

        def read(connection: Connection) -> tuple[Claims, wire.User] | None:
            row = connection.execute(select(login).where(login.c.login == name, lives(now))).one_or_none()
            if row is None:
                return None
            claims = Claims(row.user, row.login, row.login, row.created_at, row.expires_at)
            return claims, views.users_by_id(connection, [row.user])[row.user]

        found = await self.ports.database.read(read)
        return None if found is None else signed(self.signer, *found)

    async def discard(self, name: str) -> None:
        """End a login that nobody was there to take."""
        now = self.ports.clock.wall_ms()
        ended = await self.ports.database.change(
            lambda connection: end(connection, login.c.login == name, "logout", now)
        )
        await self.endings.announce(ended)
