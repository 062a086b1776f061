"""Proof that it is still the person who holds a session, for what cannot be undone: the password, or a fresh login."""

from __future__ import annotations

from attrs import frozen
from chat_common.errors import NotAuthenticated, NotPermitted
from chat_common.records import Caller
from sqlalchemy import Connection, select

from chat_server.auth.neighbours import Ports
from chat_server.auth.passwords import PasswordIdentity
from chat_server.store.account_schema import login
from chat_server.store.executor import caller_user
from chat_server.store.rights import lives

FRESH_MS = 300_000
"""How old a login may be that proves the person by itself."""


@frozen
class ProofAgain:
    """``passwords`` is None where nobody logs in by password."""

    ports: Ports
    passwords: PasswordIdentity | None

    async def __call__(self, caller: Caller, password: str | None) -> None:
        """Return when the caller is proven. `NotAuthenticated`: the password is wrong; `RateLimited`: it was wrong too
        often; `NotPermitted`: there is none, and the caller's login is older than five minutes."""
        me = caller_user(caller)
        if password is not None and self.passwords is not None:
            await self.passwords.throttle(f"of {me}", caller.address)
            good = await self.passwords.of_user(me, password)
            if good:
                return
            if good is False:
                raise NotAuthenticated("password: The password is wrong.", field="password")
        now = self.ports.clock.wall_ms()

        def made_at(connection: Connection) -> int | None:
            mine = select(login.c.created_at).where(login.c.login == (caller.token or ""), login.c.user == me)
            return connection.execute(mine.where(lives(now))).scalar_one_or_none()

        made = await self.ports.database.read(made_at)
        if made is None or made < now - FRESH_MS:
            minutes = FRESH_MS // 60_000
            raise NotPermitted(
                f"Give your password, or log in again first: this login is older than {minutes} minutes.",
                field="password",
            )
