"""What the room admin does with accounts: passwords, bans and ends of logins, each within a transaction of its own."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from chat_common.errors import Conflict
from sqlalchemy import delete, select, update

from chat_server.auth.bans import keep_out, let_in
from chat_server.auth.endings import Endings
from chat_server.auth.hashing import Hasher
from chat_server.auth.logins import Ended, end, lock_user
from chat_server.auth.passwords import PROVIDER, folded, keep, replace
from chat_server.store.account_schema import ban, identity, login
from chat_server.store.tx import Tx


@frozen
class Accounts:
    """Implements `chat_server.admin.neighbours.Accounts`. ``hasher`` is None where nobody logs in by password."""

    endings: Endings
    hasher: Hasher | None

    async def hashed(self, password: str) -> str:
        """Return what is kept of a password; `Conflict`: this server has no passwords."""
        if self.hasher is None:
            raise Conflict("Nobody logs in by password here: the identity provider `password` is not chosen.")
        return await self.hasher.hash(password)

    def login_name(self, name: str) -> str:
        """Return a login name as providers' subjects are compared with it."""
        return folded(name)

    def set_password(self, tx: Tx, user: str, secret: str) -> str:
        """Write the user's first password, or another one; the name to log in by."""
        lock_user(tx.connection, user)
        has = select(identity.c.user).where(identity.c.provider == PROVIDER, identity.c.user == user)
        if tx.connection.execute(has).first() is not None:
            return replace(tx.connection, user, secret)
        return keep(tx.connection, user, secret)

    def ban(self, tx: Tx, user: str, until: int | None, reason: str | None, by: str) -> Sequence[Ended]:
        """Keep the user out; the logins that this has ended."""
        return keep_out(tx.connection, user, tx.now, until, reason, by)

    def unban(self, tx: Tx, user: str, by: str) -> None:
        """Let the user in again."""
        let_in(tx.connection, user, tx.now, by)

    def log_out(self, tx: Tx, user: str) -> Sequence[Ended]:
        """End every login of the user, remembered phones too; those that this has ended."""
        lock_user(tx.connection, user)
        return end(tx.connection, login.c.user == user, "admin", tx.now)

    def erase(self, tx: Tx, user: str) -> Sequence[Ended]:
        """Take from a user every way in and what is known of the devices; the logins that this has ended. What is left
        of the logins, that they were ended, is forgotten as that of others is."""
        lock_user(tx.connection, user)
        tx.connection.execute(delete(identity).where(identity.c.user == user))
        tx.connection.execute(delete(ban).where(ban.c.user == user))
        ended = end(tx.connection, login.c.user == user, "deleted", tx.now)
        nothing = {"device": None, "platform": None, "name": None, "address": None, "region": None}
        tx.connection.execute(update(login).where(login.c.user == user).values(**nothing))
        return ended

    async def announce(self, ended: Sequence[Ended]) -> None:
        """Close the sessions of logins that were ended; to be called after the commit."""
        await self.endings.announce(ended)
