"""Bans: who may not come in, and until when."""

from __future__ import annotations

from attrs import frozen
from chat_common.errors import NotPermitted
from sqlalchemy import Connection, delete

from chat_server.auth.endings import Endings
from chat_server.auth.logins import Ended, end, lock_user
from chat_server.auth.neighbours import Ports
from chat_server.store import audit
from chat_server.store.account_schema import ban, login
from chat_server.store.rights import banned
from chat_server.store.statements import upsert
from chat_server.store.tx import require_users


def refuse_banned(connection: Connection, user: str, now: int) -> None:
    """`NotPermitted` while the user is banned."""
    if banned(connection, [user], now):
        raise NotPermitted("This account is banned.", reason="banned")


def keep_out(
    connection: Connection, user: str, now: int, until: int | None, reason: str | None, by: str
) -> list[Ended]:
    """Write a ban down; the logins that it has ended, to be announced after the commit. `NotFound`: no such user."""
    require_users(connection, [user])
    lock_user(connection, user)
    values = {"until": until, "reason": reason}
    connection.execute(
        upsert(connection, ban).values(user=user, **values).on_conflict_do_update(index_elements=["user"], set_=values)
    )
    audit.note(connection, now, by, "user.ban", user, **values)
    in_force = until is None or until > now
    return end(connection, login.c.user == user, "ban", now) if in_force else []


def let_in(connection: Connection, user: str, now: int, by: str) -> None:
    """Delete a ban, if there is one."""
    if connection.execute(delete(ban).where(ban.c.user == user)).rowcount:
        audit.note(connection, now, by, "user.unban", user)


@frozen
class Bans:
    """Bans end every login of the user, so that a ban that is over lets nobody in without logging in again.
    ``by``: the user whom the audit names."""

    ports: Ports
    endings: Endings

    async def ban(self, user: str, until: int | None, reason: str | None, by: str) -> None:
        """Keep the user out until then (ms since 1970; None: for good) and close what is open with 4403."""
        now = self.ports.clock.wall_ms()
        await self.endings.announce(
            await self.ports.database.change(lambda connection: keep_out(connection, user, now, until, reason, by))
        )

    async def unban(self, user: str, by: str) -> None:
        """Let the user in again; nothing happens where there is no ban."""
        now = self.ports.clock.wall_ms()
        await self.ports.database.change(lambda connection: let_in(connection, user, now, by))
