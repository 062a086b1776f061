"""Phones that are remembered to confirm logins. What they keep opens nothing else."""

from __future__ import annotations

from attrs import frozen
from chat_common import wire
from chat_common.errors import ChatError

from chat_server.auth.authenticate import Standings
from chat_server.auth.endings import Endings
from chat_server.auth.logins import end, open_login
from chat_server.auth.neighbours import Ports
from chat_server.auth.policy import Newcomer
from chat_server.auth.settings import AuthSettings
from chat_server.auth.signer import PHONE, TokenSigner
from chat_server.store.account_schema import login


@frozen
class Phones:
    """A phone's login has the audience ``phone``: no policy counts it; kick, a new password and bans end it too."""

    ports: Ports
    settings: AuthSettings
    signer: TokenSigner
    standings: Standings
    endings: Endings

    async def remember(self, user: str, address: str | None) -> str:
        """Return what a phone keeps in its cookie to confirm logins as this user."""
        now, phone = self.ports.clock.wall_ms(), Newcomer(address=address)
        claims = await self.ports.database.change(
            lambda connection: open_login(connection, user, phone, self.settings, now, provider="qr", audience=PHONE)
        )
        return self.signer.sign(claims)

    async def remembered(self, text: str) -> wire.User | None:
        """Return the user that a phone is remembered as; None when that has expired, or the user is banned."""
        try:
            return (await self.standings.of(self.signer.read(text, PHONE))).user
        except ChatError:
            return None

    async def forget(self, text: str) -> None:
        """Remember a phone no longer."""
        try:
            family, now = self.signer.read(text, PHONE).login, self.ports.clock.wall_ms()
        except ChatError:
            return
        ended = await self.ports.database.change(
            lambda connection: end(connection, login.c.login == family, "logout", now)
        )
        await self.endings.announce(ended)
