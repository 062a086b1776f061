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
from chat_server.names.handles import NameRules, typed
from chat_server.store import audit
from chat_server.store.account_schema import identity, login
from chat_server.store.schema import user

PROVIDER = "password"
PASSWORD_MIN, PASSWORD_MAX = 8, 256
NOTED_AN_HOUR = 600
"""Failed logins that one node notes for the audit an hour: strangers may not fill the disk with them."""
Password = Annotated[str, Meta(min_length=PASSWORD_MIN, max_length=PASSWORD_MAX)]


def folded(name: str) -> str:
    """Return a login name as those were kept that are older than handles."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def subject_of(connection: Connection, rules: NameRules, name: str) -> str | None:
    """Return what the account that is meant by this login name is kept under; None: nobody logs in by it.

    That is what the account was made with; else its handle; else the handle that goes with the name that was typed.
    """
    mine = identity.c.provider == PROVIDER
    found = connection.execute(select(identity.c.subject).where(mine, identity.c.subject == folded(name)))
    subject: str | None = found.scalar_one_or_none()
    for handle in dict.fromkeys((typed(name), rules.derived(name))):
        if subject is None and handle:
            by_handle = select(identity.c.subject).join(user, user.c.user == identity.c.user)
            subject = connection.execute(by_handle.where(mine, user.c.handle == handle)).scalar_one_or_none()
    return subject


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
        rules: NameRules | None = None,
    ) -> None:
        self._rules = rules or NameRules()
        self._clock = clock or SystemClock()
        self._noted = Rates(self._clock, entries=1)
        self._database = database
        self._cache = cache
        self._settings = settings
        self.hasher = hasher or Hasher()

    async def prove(self, credentials: PasswordCredentials, attempt: Attempt) -> Proof:
        """See `DirectIdentity.prove`."""
        subject, row, known = await self._database.read(
            lambda connection: self._look(connection, credentials.name, attempt.device)
        )
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

    def _look(
        self, connection: Connection, name: str, device: str | None
    ) -> tuple[str, tuple[str, str | None] | None, bool]:
        """What the tries are counted by, (user and hash, or None), and whether this device has come in as this user
        before."""
        subject = subject_of(connection, self._rules, name) or folded(name)
        row = connection.execute(
            select(identity.c.user, identity.c.secret).where(
                identity.c.provider == PROVIDER, identity.c.subject == subject
            )
        ).one_or_none()
        if row is None:
            return subject, None, False
        mine = select(login.c.login).where(login.c.user == row.user, login.c.device == device)
        known = device is not None and connection.execute(mine.limit(1)).first() is not None
        return subject, (str(row.user), row.secret), known


def keep(connection: Connection, who: str, secret: str) -> str:
    """Write this user's first password; the handle to log in by. `Conflict` when an account that is older than handles
    logs in by that."""
    subject: str | None = connection.execute(select(user.c.handle).where(user.c.user == who)).scalar_one_or_none()
    if subject is None:
        raise Conflict("This account has no login name yet: it gets one within a minute.")
    taken = select(identity.c.user).where(identity.c.provider == PROVIDER, identity.c.subject == subject)
    if connection.execute(taken).first() is not None:
        raise Conflict("name: Somebody else logs in by this name: choose another.", field="name")
    connection.execute(identity.insert(), {"provider": PROVIDER, "subject": subject, "user": who, "secret": secret})
    return subject


def replace(connection: Connection, who: str, secret: str) -> str:
    """Write another password for a user who has one; the name that goes with it."""
    mine = (identity.c.provider == PROVIDER) & (identity.c.user == who)
    connection.execute(update(identity).where(mine).values(secret=secret))
    return str(connection.execute(select(identity.c.subject).where(mine)).scalar_one())
