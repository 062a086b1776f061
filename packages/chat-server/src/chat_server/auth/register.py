"""``auth.register``: a new account with a name and a password; and new people on the login page."""

from __future__ import annotations

from typing import Annotated

from attrs import define, frozen
from chat_common import wire
from chat_common.errors import NotPermitted, RateLimited
from chat_common.ports.identity import Proof
from chat_common.records import Caller
from chat_common.validation import named
from msgspec import Meta

from chat_server.auth.devices import DeviceInfo, newcomer
from chat_server.auth.hashing import Hasher
from chat_server.auth.identities import Identities
from chat_server.auth.issue import Issuer
from chat_server.auth.logins import LoggedIn
from chat_server.auth.neighbours import Neighbours, Ports
from chat_server.auth.passwords import PROVIDER, Password, keep
from chat_server.counting import allow_address_everywhere
from chat_server.names import display_name
from chat_server.store import invites
from chat_server.store.tx import Tx

AN_HOUR = 60


@define(kw_only=True)
class RegisterUser:
    """``invite``: a code, where the server asks for one."""

    name: named(64)  # type: ignore[valid-type]
    password: Password
    invite: Annotated[str, Meta(max_length=256)] | None = None
    device: wire.Id | DeviceInfo | None = None


@frozen
class Registration:
    """Makes accounts, at most 60 an hour from one address."""

    ports: Ports
    neighbours: Neighbours
    identities: Identities
    issuer: Issuer
    hasher: Hasher | None

    async def register(self, caller: Caller, request: RegisterUser) -> LoggedIn:
        """``auth.register``."""
        user = await self.create(request.name, request.password, request.invite, caller.address)
        return await self.issuer.log_in(user, newcomer(caller, request.device), PROVIDER)

    async def user_of(self, proof: Proof) -> str:
        """Return the user of a proven identity, made at its first use; `NotPermitted` where registration says no."""
        return (await self.ports.executor.apply(lambda tx: self.identities.resolve(tx, proof))).user

    async def _single_use(self, code: str | None) -> str | None:
        """The code, where it is one of the store's, which are good for one account; asked again when it is spent."""
        if not code or self.identities.settings.registration != "invite":
            return None
        now = self.ports.clock.wall_ms()
        good = await self.ports.database.read(lambda connection: invites.is_good(connection, code, now))
        return code if good else None

    async def create(self, name: str, password: str | None, invite: str | None, address: str | None) -> str:
        """Make a user, with a password or without. `NotPermitted`, `Conflict` (name taken), `RateLimited`."""
        wait = await allow_address_everywhere(self.ports.cache, "auth:new", address, AN_HOUR, 3600.0)
        if wait:
            raise RateLimited(
                f"Too many accounts were made from this address. Try again in {wait:.0f} seconds.",
                retry_after=round(wait, 3),
            )
        single = await self._single_use(invite)
        if single is None:
            self.identities.admit(invite)
        name = display_name(name)
        secret = None
        if password is not None and self.hasher is not None:
            secret = await self.hasher.hash(password, address)

        def make(tx: Tx) -> str:
            who = self.neighbours.create_user(tx, name)
            if single is not None and not invites.spend(tx.connection, single, who.user, tx.now):
                raise NotPermitted("invite: Somebody else has used this code by now.", field="invite")
            if secret is not None:
                keep(tx.connection, who.user, name, secret)
            return who.user

        return await self.ports.executor.apply(make)
