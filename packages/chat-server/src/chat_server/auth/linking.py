"""``auth.identities``, ``auth.link`` and ``auth.unlink``: several ways in for one user, never merged by themselves.

A thief of a session must not be able to add a login of his own, so the caller's login must be recent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from attrs import define, frozen
from chat_common.errors import Conflict, Invalid, NotFound, NotPermitted
from chat_common.ports.identity import Attempt, DirectIdentity, IdentityProvider
from chat_common.records import Caller
from chat_common.settings import nearest
from chat_common.validation import named
from sqlalchemy import Connection, delete, func, select

from chat_server.auth.direct import DirectLogins
from chat_server.auth.endings import Endings
from chat_server.auth.identities import find, keep
from chat_server.auth.logins import Ended, end, lock_user
from chat_server.auth.neighbours import Ports
from chat_server.auth.passwords import PROVIDER as PASSWORD
from chat_server.auth.requests import Nothing
from chat_server.store.account_schema import identity, login
from chat_server.store.executor import caller_user
from chat_server.store.rights import lives

log = structlog.get_logger("chat.auth")
YOUNG_MS = 900_000
MOST = 20


@define(kw_only=True)
class IdentityState:
    """``subject``: what the person is called there: a login name, an id."""

    provider: str
    subject: str


@define(kw_only=True)
class IdentityList:
    identities: list[IdentityState]


@define(kw_only=True)
class LinkIdentity:
    """``credentials``: the parameters of ``auth.PROVIDER``, without the device."""

    provider: named(32)  # type: ignore[valid-type]
    credentials: dict[str, Any]


@define(kw_only=True)
class UnlinkIdentity:
    """All identities of the provider, those that came with them included."""

    provider: named(32)  # type: ignore[valid-type]


@frozen
class Linking:
    """Adds and removes the ways in of the caller's user."""

    ports: Ports
    providers: Mapping[str, IdentityProvider]
    direct: DirectLogins
    endings: Endings

    async def identities(self, caller: Caller, request: Nothing) -> IdentityList:
        """``auth.identities``."""
        me = caller_user(caller)
        mine = select(identity).where(identity.c.user == me).order_by(identity.c.provider, identity.c.subject)
        rows = await self.ports.database.read(lambda connection: connection.execute(mine.limit(100)).all())
        return IdentityList(identities=[IdentityState(provider=row.provider, subject=row.subject) for row in rows])

    async def link(self, caller: Caller, request: LinkIdentity) -> IdentityList:
        """``auth.link``. `Conflict`: the identity is another user's; `NotPermitted`: the caller's login is too old.

        Repeated, it finds the identity linked and is content.
        """
        me, provider = caller_user(caller), self._direct(request.provider)
        try:
            credentials = msgspec.convert(request.credentials, provider.credentials)
        except msgspec.ValidationError as error:
            raise Invalid(f"credentials: {error}", field="credentials") from None
        await self.direct.admit(caller.address)
        await self.ports.database.read(lambda connection: self._require_young(connection, caller))
        proof = await provider.prove(credentials, Attempt(caller.address, caller.device))

        def write(connection: Connection) -> None:
            lock_user(connection, me)
            known = find(connection, proof)
            if known not in (None, me):
                raise Conflict("This identity belongs to another account here.", field="credentials")
            count = select(func.count()).select_from(identity).where(identity.c.user == me)
            if connection.execute(count).scalar_one() >= MOST:
                raise Conflict(f"An account has at most {MOST} identities.", limit=MOST)
            keep(connection, me, [(proof.provider, proof.subject), *proof.aliases])

        await self.ports.database.change(write)
        log.info("identity_linked", user=me, provider=provider.name)
        return await self.identities(caller, Nothing())

    async def unlink(self, caller: Caller, request: UnlinkIdentity) -> IdentityList:
        """``auth.unlink``: and every login that came by that provider ends, the caller's too. `Conflict`: the last way
        in; `NotFound`; `NotPermitted`: the caller's login is too old."""
        me, now = caller_user(caller), self.ports.clock.wall_ms()

        def write(connection: Connection) -> list[Ended]:
            lock_user(connection, me)
            self._require_young(connection, caller)
            providers = set(
                connection.execute(select(identity.c.provider).where(identity.c.user == me).distinct()).scalars()
            )
            if request.provider not in providers:
                raise NotFound("This account has no identity of that provider.")
            if not any(other in self.providers for other in providers - {request.provider}):
                raise Conflict("This is the last way into the account: link another one, or set a password, first.")
            connection.execute(delete(identity).where(identity.c.user == me, identity.c.provider == request.provider))
            return end(connection, (login.c.user == me) & (login.c.provider == request.provider), "unlinked", now)

        await self.endings.announce(await self.ports.database.change(write))
        log.info("identity_unlinked", user=me, provider=request.provider)
        return await self.identities(caller, Nothing())

    def _direct(self, name: str) -> DirectIdentity:
        provider = self.providers.get(name)
        if name == PASSWORD and provider is not None:
            raise Invalid("provider: A password is set by auth.password.set.", field="provider")
        if not isinstance(provider, DirectIdentity):
            offered = [
                each for each, it in self.providers.items() if isinstance(it, DirectIdentity) and each != PASSWORD
            ]
            raise Invalid(f"provider: {name!r} cannot be linked this way: {nearest(name, offered)}", field="provider")
        return provider

    def _require_young(self, connection: Connection, caller: Caller) -> None:
        now = self.ports.clock.wall_ms()
        mine = select(login.c.created_at).where(login.c.login == (caller.token or ""), lives(now))
        made = connection.execute(mine).scalar_one_or_none()
        if made is None or made < now - YOUNG_MS:
            raise NotPermitted(
                f"To change how you log in, log in again first: this login is older than {YOUNG_MS // 60_000} minutes."
            )
