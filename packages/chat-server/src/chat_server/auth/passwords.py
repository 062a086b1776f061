"""The provider ``password``: names and passwords of this server's own, kept as argon2id hashes."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from attrs import define
from chat_common.clock import Clock, SystemClock
from chat_common.errors import Conflict, NotAuthenticated, RateLimited
from chat_common.memory.rates import Rates
from chat_common.ports.cache import Cache
from chat_common.ports.database import Database
from chat_common.ports.identity import Attempt, Proof
from chat_common.validation import named
from msgspec import Meta
from sqlalchemy import Connection, select, update

from chat_server.auth.hashing import Hasher
from chat_server.auth.settings import AuthSettings
from chat_server.counting import allow_address_everywhere
from chat_server.store import audit
from chat_server.store.schema import identity, login

PROVIDER = "password"
PASSWORD_MIN, PASSWORD_MAX = 8, 256
NOTED_AN_HOUR = 600
"""Failed logins that one node notes for the audit an hour: strangers may not fill the disk with them."""
Password = Annotated[str, Meta(min_length=PASSWORD_MIN, max_length=PASSWORD_MAX)]


def folded(name: str) -> str:
    """Return a login name as it is compared."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


@define(kw_only=True)
class PasswordCredentials:
    name: named(64)  # type: ignore[valid-type]
    password: Annotated[str, Meta(min_length=1, max_length=PASSWORD_MAX)]


class PasswordIdentity:
    """`chat_common.ports.identity.DirectIdentity`. An unknown name and a wrong password look and cost the same.

    Tries are limited by name and by address. Somebody who guesses at a name delays others there, but never a device
    that has come in with that name before: that one has a limit of its own.
    """

    name, title, credentials = PROVIDER, "Name and password", PasswordCredentials

    def __init__(
        self,
        database: Database,
        cache: Cache,
        settings: AuthSettings,
        hasher: Hasher | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._noted = Rates(self._clock, entries=1)
        self._database = database
        self._cache = cache
        self._settings = settings
        self.hasher = hasher or Hasher()

    async def prove(self, credentials: PasswordCredentials, attempt: Attempt) -> Proof:
        """See `DirectIdentity.prove`."""
        subject = folded(credentials.name)
        row, known = await self._database.read(lambda connection: self._look(connection, subject, attempt.device))
        await self.throttle(f"{subject} {attempt.device}" if known else subject, attempt.address)
        kept = None if row is None else row[1]
        if not await self.hasher.verify(kept, credentials.password, attempt.address) or row is None:
            await self._note_failure(subject, row, attempt)
            raise NotAuthenticated("The name or the password is wrong.")
        if kept is not None and self.hasher.is_outdated(kept):
            fresh = await self.hasher.hash(credentials.password)
            await self._database.change(lambda connection: replace(connection, row[0], fresh))
        return Proof(PROVIDER, subject, credentials.name.strip())

    async def _note_failure(self, subject: str, row: tuple[str, str | None] | None, attempt: Attempt) -> None:
        if self._noted.allow("failures", NOTED_AN_HOUR, 3600.0):
            return
        now, address = self._clock.wall_ms(), attempt.address or "local"
        about = subject if row is None else row[0]
        await self._database.change(
            lambda connection: audit.note(
                connection, now, address, "login.failed", about, provider=PROVIDER, device=attempt.device
            )
        )

    async def throttle(self, subject: str, address: str | None) -> None:
        """Count one try for this name and from this address; `RateLimited` when there were too many."""
        limit, period = self._settings.attempts, self._settings.attempts_period
        wait = await allow_address_everywhere(self._cache, "auth:from", address, 5 * limit, period)
        # By address first: who has spent that share does not spend the share of a name as well.
        wait = wait or await self._cache.allow(f"auth:name:{subject}", limit=limit, period=period)
        if wait:
            raise RateLimited(f"Too many tries. Try again in {wait:.0f} seconds.", retry_after=round(wait, 3))

    async def of_user(self, user: str, password: str | None) -> bool | None:
        """Whether this is the user's password; None: the user has none yet."""
        kept = await self._database.read(
            lambda connection: connection.execute(
                select(identity.c.secret).where(identity.c.provider == PROVIDER, identity.c.user == user)
            ).scalar_one_or_none()
        )
        if kept is None:
            return None
        return password is not None and await self.hasher.verify(kept, password)

    @staticmethod
    def _look(connection: Connection, subject: str, device: str | None) -> tuple[tuple[str, str | None] | None, bool]:
        """(user and hash, or None), and whether this device has come in as this user before."""
        row = connection.execute(
            select(identity.c.user, identity.c.secret).where(
                identity.c.provider == PROVIDER, identity.c.subject == subject
            )
        ).one_or_none()
        if row is None:
            return None, False
        mine = select(login.c.login).where(login.c.user == row.user, login.c.device == device)
        known = device is not None and connection.execute(mine.limit(1)).first() is not None
        return (str(row.user), row.secret), known


def keep(connection: Connection, user: str, name: str, secret: str) -> None:
    """Write this user's first password; `Conflict` when somebody else logs in by that name."""
    subject = folded(name)
    taken = connection.execute(
        select(identity.c.user).where(identity.c.provider == PROVIDER, identity.c.subject == subject)
    ).scalar_one_or_none()
    if taken is not None:
        raise Conflict("name: Somebody else logs in by this name: choose another.", field="name")
    connection.execute(identity.insert(), {"provider": PROVIDER, "subject": subject, "user": user, "secret": secret})


def replace(connection: Connection, user: str, secret: str) -> str:
    """Write another password for a user who has one; the name that goes with it."""
    mine = (identity.c.provider == PROVIDER) & (identity.c.user == user)
    connection.execute(update(identity).where(mine).values(secret=secret))
    return str(connection.execute(select(identity.c.subject).where(mine)).scalar_one())
