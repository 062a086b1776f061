"""The ends of logins, made known: sessions close, verdicts change, the user's other devices are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from attrs import frozen
from sqlalchemy import Connection, select

from chat_server.auth.devices import DeviceNews
from chat_server.auth.logins import Ended, EndedBy
from chat_server.auth.neighbours import Neighbours, Ports
from chat_server.auth.verdicts import Verdicts
from chat_server.services import CloseSessions, LoginEnded
from chat_server.store.account_schema import login

CLOSING: dict[EndedBy, tuple[int, str]] = {
    "logout": (4401, "This login was ended by logging out."),
    "kick": (4409, "This device was logged out by another device."),
    "replaced": (4409, "This login was replaced by another device."),
    "password": (4401, "The password was changed: log in again."),
    "ban": (4403, "This account is banned."),
    "reuse": (4401, "An old token of this login was used again, so it was ended: log in again."),
    "expired": (4401, "This login has expired: log in again."),
    "unlinked": (4401, "The identity that this login came by was unlinked: log in again."),
    "admin": (4401, "An admin has ended this login: log in again."),
    "deleted": (4401, "This account was deleted."),
}
OVERLAP_MS = 60_000
"""How far clocks of nodes may differ: so much of the past is looked at again."""


def why_ended(by: str | None) -> LoginEnded:
    """Return the error for a token whose login was ended this way."""
    if by == "ban":  # It may be over by now, and then the way in is to log in again.
        return LoginEnded("This login was ended by a ban: log in again.", close_code=4401)
    code, text = CLOSING.get(cast(EndedBy, by), CLOSING["expired"])
    return LoginEnded(text, close_code=code)


@frozen
class Endings:
    """Call `announce` after the commit of a transaction that has ended logins, on the node where it was made.

    Other nodes read what was ended from the store, once a second (`look`), so that no broadcast can be lost.
    """

    ports: Ports
    neighbours: Neighbours
    verdicts: Verdicts
    news: DeviceNews

    async def announce(self, ended: Sequence[Ended]) -> None:
        """Close the sessions of these logins, and tell the devices that stay."""
        await self._close([(each.login, each.user, each.by, each.expires_at) for each in ended])
        await self.news.ended(ended)

    async def look(self, known: set[str], since: int) -> tuple[set[str], int]:
        """Close what any node has ended from ``since`` on and is not ``known``; what to call it with next."""

        def read(connection: Connection) -> Sequence[Any]:
            columns = (login.c.login, login.c.user, login.c.ended_by, login.c.expires_at)
            return connection.execute(select(*columns).where(login.c.ended_at >= since)).all()

        # The time is taken before the read: what commits meanwhile is read the next time.
        now = self.ports.clock.wall_ms()
        rows = await self.ports.database.read(read)
        await self._close([tuple(row) for row in rows if row.login not in known])
        return {row.login for row in rows}, now - OVERLAP_MS

    async def _close(self, ended: Iterable[tuple[str, str, EndedBy, int]]) -> None:
        for name, user, by, expires_at in ended:
            await self.verdicts.ended(name, by, expires_at)
            code, reason = CLOSING[by]
            await self.neighbours.close(CloseSessions(code, reason, "never", user=user, token=name))
