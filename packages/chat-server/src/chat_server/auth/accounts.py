"""Accounts: who may make one, and logging in by name and password."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

from attrs import define
from chat_common import wire
from chat_common.errors import NotAuthenticated, NotFound, NotPermitted, RateLimited
from chat_common.ports.cache import Cache
from chat_common.ports.identity import Proof
from chat_common.records import Caller
from chat_common.validation import named
from msgspec import Meta
from sqlalchemy import select

from chat_server.auth.devices import DeviceInfo, device_id
from chat_server.auth.logins import LoggedIn
from chat_server.auth.passwords import Passwords, folded, keep, replace
from chat_server.auth.settings import AuthSettings
from chat_server.counting import allow_address_everywhere
from chat_server.store import views
from chat_server.store.executor import CommandExecutor, caller_user
from chat_server.store.schema import identity
from chat_server.store.tx import Tx

PASSWORD_MIN, PASSWORD_MAX = 8, 256
REGISTRATIONS_AN_HOUR = 60
CreateUser = Callable[[Tx, str], wire.User]
Issue = Callable[[str, str | None], Awaitable[LoggedIn]]
Password = Annotated[str, Meta(min_length=PASSWORD_MIN, max_length=PASSWORD_MAX)]


@define(kw_only=True)
class LogInPassword:
    name: named(64)  # type: ignore[valid-type]
    password: Annotated[str, Meta(min_length=1, max_length=PASSWORD_MAX)]
    device: wire.Id | DeviceInfo | None = None


@define(kw_only=True)
class Register:
    """``invite``: a code, where the server asks for one."""

    name: named(64)  # type: ignore[valid-type]
    password: Password
    invite: Annotated[str, Meta(max_length=256)] | None = None
    device: wire.Id | DeviceInfo | None = None


@define(kw_only=True)
class SetPassword:
    """``old``: the one so far, where there is one."""

    password: Password
    old: Annotated[str, Meta(max_length=PASSWORD_MAX)] | None = None


@define(kw_only=True)
class PasswordSet:
    """``name``: what to log in by."""

    name: str


class Accounts:
    """Makes users and proves them by password. ``create_user(tx, name)`` is the logic room's."""

    def __init__(
        self,
        executor: CommandExecutor,
        passwords: Passwords,
        cache: Cache,
        settings: AuthSettings,
        create_user: CreateUser,
        issue: Issue,
    ) -> None:
        self.passwords = passwords
        self._executor = executor
        self._cache = cache
        self._settings = settings
        self._create_user = create_user
        self._issue = issue

    @property
    def registration(self) -> str:
        """``open``, ``invite`` or ``closed``."""
        return self._settings.registration

    def admit(self, invite: str | None) -> None:
        """`NotPermitted` unless a new person may come in with this code."""
        if self._settings.registration == "closed":
            raise NotPermitted("registration is closed here")
        if self._settings.registration == "invite":
            given = (invite or "").strip().encode()
            # Every code is compared, so that the time tells nothing.
            if not sum(hmac.compare_digest(given, code.encode()) for code in self._settings.invite if code):
                raise NotPermitted("invite: an invite code is needed, and this is none", field="invite")

    async def create(self, name: str, password: str | None, invite: str | None, address: str | None) -> str:
        """A new user, with a password or without. `NotPermitted`, `Conflict` (name taken), `RateLimited`."""
        await self._throttle(address)
        self.admit(invite)
        secret = None if password is None else await self.passwords.hash(password)

        def make(tx: Tx) -> str:
            who = self._create_user(tx, name.strip())
            if secret is not None:
                keep(tx.connection, who.user, name, secret)
            return who.user

        return await self._executor.apply(make)

    async def prove(self, proof: Proof) -> str:
        """The user of a proven identity, made at its first use; `NotPermitted` unless registration is open."""

        def find(tx: Tx) -> str:
            known = tx.connection.execute(
                select(identity.c.user).where(
                    identity.c.provider == proof.provider, identity.c.subject == proof.subject
                )
            ).scalar_one_or_none()
            if known is not None:
                return str(known)
            self.admit(None)
            who = self._create_user(tx, proof.name)
            values = {"provider": proof.provider, "subject": proof.subject, "user": who.user}
            tx.connection.execute(identity.insert(), values)
            return who.user

        return await self._executor.apply(find)

    # --- commands ---------------------------------------------------------------------------------------------------

    async def log_in(self, caller: Caller, request: LogInPassword) -> LoggedIn:
        """``auth.password``."""
        user = await self.passwords.check(request.name, request.password, caller.address)
        return await self._issue(user, device_id(request.device) or caller.device)

    async def register(self, caller: Caller, request: Register) -> LoggedIn:
        """``auth.register``."""
        user = await self.create(request.name, request.password, request.invite, caller.address)
        return await self._issue(user, device_id(request.device) or caller.device)

    async def set_password(self, caller: Caller, request: SetPassword) -> PasswordSet:
        """``auth.password.set``. Repeated, it finds the new password and is content."""
        me = caller_user(caller)
        await self.passwords.throttle(f"of {me}", None)
        known = await self.passwords.of_user(me, request.old)
        if known is False and not await self.passwords.of_user(me, request.password):
            raise NotAuthenticated("old: not the password so far", field="old")
        secret = await self.passwords.hash(request.password)

        def write(tx: Tx) -> str:
            if known is not None:
                return replace(tx.connection, me, secret)
            found = views.users_by_id(tx.connection, [me])
            if me not in found:
                raise NotFound("user not found")
            keep(tx.connection, me, found[me].name, secret)
            return folded(found[me].name)

        return PasswordSet(name=await self._executor.apply(write))

    async def _throttle(self, address: str | None) -> None:
        wait = await allow_address_everywhere(self._cache, "auth:new", address, REGISTRATIONS_AN_HOUR, 3600.0)
        if wait:
            raise RateLimited(f"too many accounts from this address: again in {wait:.0f} s", retry_after=round(wait, 3))
