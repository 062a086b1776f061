"""The one way to a token: a person who is proven, the policy, a login."""

from __future__ import annotations

from collections.abc import Collection

from attrs import evolve, frozen
from chat_common import wire
from chat_common.errors import ChatError, Conflict
from chat_common.ports.identity import Proof
from chat_common.records import Caller
from sqlalchemy import Connection

from chat_server.auth.bans import refuse_banned
from chat_server.auth.endings import Endings
from chat_server.auth.identities import Identities, find
from chat_server.auth.logins import Ended, Heir, LoggedIn, end, held, known_device, lock_user, open_login, signed
from chat_server.auth.neighbours import Neighbours, Ports
from chat_server.auth.policy import Decision, Held, Newcomer, Policy
from chat_server.auth.settings import AuthSettings
from chat_server.auth.signer import TokenSigner
from chat_server.store import audit, views
from chat_server.store.account_schema import login
from chat_server.store.tx import Tx, require_users


class TooManyLogins(Conflict):
    """The policy keeps this device out as long as others are in: its details name the ``devices`` to choose from."""

    def __init__(self, blocking: Collection[Held]) -> None:
        names = ", ".join(each.name or each.platform or each.device or "a device without a name" for each in blocking)
        super().__init__(
            f"You are logged in on {names}. Log in again with `replace` set to the device or login to end.",
            field="replace",
            details={
                "devices": [
                    {
                        "login": each.login,
                        "device": each.device or "",
                        "platform": each.platform or "unknown",
                        "name": each.name or "",
                        "seen_at": each.seen_at,
                    }
                    for each in blocking
                ]
            },
        )


def decided(decision: Decision) -> Decision:
    """Return the decision; `TooManyLogins` when it keeps the newcomer out."""
    if decision.blocking:
        raise TooManyLogins(decision.blocking)
    return decision


@frozen
class Issuer:
    """Logs people in. The policy and the login are one transaction that has locked the user: of simultaneous logins
    the later commit sees the earlier one."""

    ports: Ports
    neighbours: Neighbours
    settings: AuthSettings
    signer: TokenSigner
    identities: Identities
    endings: Endings

    async def log_in(self, who: Proof | str, newcomer: Newcomer, provider: str | None = None) -> LoggedIn:
        """Give a login to somebody who is proven, or to the user ``who``.

        `NotPermitted`: banned, or new where registration is not open. `TooManyLogins`: the policy refuses.
        """
        who = await self._screened(who, newcomer)
        online = await self._online(who)
        provider = who.provider if isinstance(who, Proof) else provider

        def write(tx: Tx) -> tuple[LoggedIn, list[Ended], Newcomer]:
            person = self._person(tx, who)
            lock_user(tx.connection, person.user)
            require_users(tx.connection, [person.user])  # it may have been deleted before it was locked
            refuse_banned(tx.connection, person.user, tx.now)
            device = self._described(tx.connection, person.user, newcomer)
            others = held(tx.connection, person.user, tx.now, online)
            decision = decided(Policy.of(self.settings).decide(device, others))
            claims = open_login(tx.connection, person.user, device, self.settings, tx.now, provider=provider)
            heir = Heir(claims.login, device.device)
            ended = end(tx.connection, login.c.login.in_(decision.end), "replaced", tx.now, heir=heir)
            audit.note(
                tx.connection, tx.now, person.user, "login", person.user,
                provider=provider, device=device.device, platform=device.platform, address=device.address,
            )  # fmt: skip
            return signed(self.signer, claims, person), ended, device

        made, ended, device = await self.ports.executor.apply(write)
        await self.endings.announce(ended)
        name = self.signer.read(made.token).login
        await self.endings.news.added(made.user.user, name, device, provider, self.ports.clock.wall_ms())
        return made

    async def _screened(self, who: Proof | str, newcomer: Newcomer) -> Proof | str:
        """Somebody who comes the first time may come, under a name that the interceptors let pass."""
        if isinstance(who, str):
            return who
        proof = who
        if await self.ports.database.read(lambda connection: find(connection, proof)) is not None:
            return proof
        naming = self.neighbours.naming
        caller = Caller(None, "", device=newcomer.device, address=newcomer.address, command=f"auth.{proof.provider}")
        try:
            self.identities.admit()
            return evolve(proof, name=await naming.screened(caller, proof.name))
        except ChatError as error:
            naming.refused(error)
            raise

    def _person(self, tx: Tx, who: Proof | str) -> wire.User:
        if isinstance(who, Proof):
            return self.identities.resolve(tx, who)
        require_users(tx.connection, [who])
        return views.users_by_id(tx.connection, [who])[who]

    def _described(self, connection: Connection, user: str, newcomer: Newcomer) -> Newcomer:
        """The newcomer with what is known of its device from before."""
        if newcomer.device is None or (newcomer.platform and newcomer.name):
            return newcomer
        known = known_device(connection, user, newcomer.device)
        if known is None:
            return newcomer
        return evolve(newcomer, platform=newcomer.platform or known.platform, name=newcomer.name or known.name)

    async def _online(self, who: Proof | str) -> set[str]:
        """The user's devices that sit somewhere, where the policy asks for it.

        Read before the transaction: a device that comes or goes meanwhile is treated as it was a moment ago, which
        no order of the two could tell apart.
        """
        if not Policy.of(self.settings).asks_who_is_present:
            return set()
        if isinstance(who, Proof):
            proof = who
            found = await self.ports.database.read(lambda connection: find(connection, proof))
            if found is None:
                return set()
            who = found
        return {device for _, device in await self.neighbours.online([who])}
