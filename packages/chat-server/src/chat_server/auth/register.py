"""``auth.register``: a new account with a name and a password; and new people on the login page."""

from __future__ import annotations

from typing import Annotated

from attrs import define, evolve, frozen
from chat_common import wire
from chat_common.errors import ChatError, Conflict, NotPermitted, RateLimited
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
from chat_server.names import BadName
from chat_server.names.handles import NameRules
from chat_server.store import invites
from chat_server.store.tx import Tx

AN_HOUR = 60


@define(kw_only=True)
class RegisterUser:
    """``handle``: the login name; absent: the one that goes with the name. ``invite``: a code, where the server asks
    for one."""

    name: named(64)  # type: ignore[valid-type]
    handle: named(64) | None = None  # type: ignore[valid-type]
    password: Password
    invite: Annotated[str, Meta(max_length=256)] | None = None
    device: wire.Id | DeviceInfo | None = None


@frozen(kw_only=True)
class Joining:
    """Somebody new on a page; ``password``: None for who comes back by the same phone."""

    name: str
    password: str | None
    invite: str | None
    handle: str | None = None


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
        user = await self.create(request, caller.address)
        return await self.issuer.log_in(user, newcomer(caller, request.device), PROVIDER)

    async def user_of(self, proof: Proof) -> str:
        """Return the user of a proven identity, made at its first use; `NotPermitted` where registration says no."""
        return (await self.ports.executor.apply(lambda tx: self.identities.resolve(tx, proof))).user

    async def _single_use(self, code: str | None) -> str | None:
        """The code, where it is one of the store's, which are good for one account; asked again when it is spent."""
        if not code:
            return None
        now = self.ports.clock.wall_ms()
        role = await self.ports.database.read(lambda connection: invites.role_by(connection, code, now))
        # The first admin's is good whatever the policy: without an admin nobody could invite.
        wanted = role == "admin" or (role is not None and self.identities.settings.registration == "invite")
        return code if wanted else None

    async def join(self, caller: Caller, request: Joining) -> str:
        """`create` for somebody who came by a page: the name passes the interceptors as a command's does."""
        naming = self.neighbours.naming
        try:
            return await self.create(evolve(request, name=await naming.screened(caller, request.name)), caller.address)
        except ChatError as error:
            naming.refused(error)
            raise

    async def create(self, request: Joining | RegisterUser, address: str | None) -> str:
        """Make a user, with a password or without. `NotPermitted`, `BadName`, `Conflict` (taken), `RateLimited`."""
        password, invite = request.password, request.invite
        wait = await allow_address_everywhere(self.ports.cache, "auth:new", address, AN_HOUR, 3600.0)
        if wait:
            raise RateLimited(
                f"Too many accounts were made from this address. Try again in {wait:.0f} seconds.",
                retry_after=round(wait, 3),
            )
        single = await self._single_use(invite)
        if single is None:
            self.identities.admit(invite)
        rules = self.neighbours.naming.rules
        name, handle = rules.display(request.name), None
        if request.handle is not None:
            handle = rules.checked(request.handle)
        elif password is not None:
            # Who logs in by it must know it, so it is this one or none.
            handle = rules.checked(_derived(rules, name), "name")
        secret = None
        if password is not None and self.hasher is not None:
            secret = await self.hasher.hash(password, address)

        def make(tx: Tx) -> str:
            who = self.neighbours.create_user(tx, name, handle)
            if single is not None and not invites.spend(tx.connection, single, who.user, tx.now):
                raise NotPermitted("invite: Somebody else has used this code by now.", field="invite")
            if secret is not None:
                keep(tx.connection, who.user, secret)
            return who.user

        try:
            return await self.ports.executor.apply(make)
        except Conflict as error:
            if request.handle is not None and error.reason == "taken":
                error.field = "handle"
            raise


def _derived(rules: NameRules, name: str) -> str:
    handle = rules.derived(name)
    if not handle:
        raise BadName("characters", "handle: this name cannot be typed: choose a login name beside it", field="handle")
    return handle
