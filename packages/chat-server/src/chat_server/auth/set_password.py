"""``auth.password.set``: the user's own password, the first one or another. A new one ends every other login."""

from __future__ import annotations

from typing import Annotated

from attrs import define, frozen
from chat_common.errors import NotAuthenticated, NotFound
from chat_common.records import Caller
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import select

from chat_server.auth.endings import Endings
from chat_server.auth.logins import Ended, end, lock_user, renewed
from chat_server.auth.neighbours import Ports
from chat_server.auth.passwords import PASSWORD_MAX, Password, PasswordIdentity, keep, replace
from chat_server.auth.settings import AuthSettings
from chat_server.auth.signer import TokenSigner
from chat_server.store import views
from chat_server.store.account_schema import login, token
from chat_server.store.executor import caller_user
from chat_server.store.rights import lives
from chat_server.store.tx import Tx


@define(kw_only=True)
class SetPassword:
    """``old``: the one so far, where there is one."""

    password: Password
    old: Annotated[str, Meta(max_length=PASSWORD_MAX)] | None = None


@define(kw_only=True)
class PasswordSet:
    """``name``: what to log in by. ``token``: a fresh one of the caller's login, good until ``expires_at``."""

    name: str
    token: str | UnsetType = UNSET
    expires_at: int | UnsetType = UNSET


@frozen
class ChangePassword:
    """Repeated, it finds the new password and is content."""

    ports: Ports
    settings: AuthSettings
    signer: TokenSigner
    passwords: PasswordIdentity
    endings: Endings

    async def __call__(self, caller: Caller, request: SetPassword) -> PasswordSet:
        me = caller_user(caller)
        await self.passwords.throttle(f"of {me}", None)
        known = await self.passwords.of_user(me, request.old)
        if known is False and not await self.passwords.of_user(me, request.password):
            raise NotAuthenticated("old: The old password is wrong.", field="old")
        secret = await self.passwords.hasher.hash(request.password)

        def write(tx: Tx) -> tuple[PasswordSet, list[Ended]]:
            lock_user(tx.connection, me)
            if known is None:
                found = views.users_by_id(tx.connection, [me])
                if me not in found:
                    raise NotFound("This user does not exist.")
                return PasswordSet(name=keep(tx.connection, me, secret)), []
            answer = PasswordSet(name=replace(tx.connection, me, secret))
            # Remembered phones too: whoever knew the old password may have made them.
            others = (login.c.user == me) & (login.c.login != (caller.token or ""))
            ended = end(tx.connection, others, "password", tx.now)
            self._fresh(tx, caller, answer)
            return answer, ended

        answer, ended = await self.ports.executor.apply(write)
        await self.endings.announce(ended)
        return answer

    def _fresh(self, tx: Tx, caller: Caller, answer: PasswordSet) -> None:
        """The caller's own login goes on with a token that nobody can have seen before."""
        row = tx.connection.execute(
            select(login, token.c.token)
            .join(token, token.c.login == login.c.login)
            .where(login.c.login == (caller.token or ""), token.c.replaced_by.is_(None), lives(tx.now))
            .order_by(token.c.issued_at.desc())
            .limit(1)
        ).one_or_none()
        if row is not None:
            claims = renewed(tx.connection, row, self.settings, tx.now)
            answer.token, answer.expires_at = self.signer.sign(claims), claims.expires_at
