"""Passwords: argon2id off the event loop, throttled, the same answer and cost for unknown names."""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from chat_common.errors import Conflict, NotAuthenticated, RateLimited, Unavailable
from chat_common.ports.cache import Cache
from chat_common.ports.database import Database
from sqlalchemy import Connection, select, update

from chat_server.auth.settings import AuthSettings
from chat_server.counting import allow_address_everywhere
from chat_server.store.schema import identity

T = TypeVar("T")
PROVIDER = "password"
AT_ONCE = 2
QUEUED = 64


def folded(name: str) -> str:
    """A login name as it is compared."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


class Passwords:
    """Checks and keeps passwords. The login name is unique by its folded form."""

    def __init__(self, database: Database, cache: Cache, settings: AuthSettings) -> None:
        self._database = database
        self._cache = cache
        self._settings = settings
        self._hasher = PasswordHasher()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._queued = 0
        self._decoy = self._hasher.hash(secrets.token_urlsafe(16))

    async def check(self, name: str, password: str, address: str | None) -> str:
        """The user of this name and password; `NotAuthenticated` without saying which was wrong, `RateLimited`."""
        subject = folded(name)
        await self.throttle(subject, address)
        row = await self._database.read(
            lambda connection: connection.execute(
                select(identity.c.user, identity.c.secret).where(
                    identity.c.provider == PROVIDER, identity.c.subject == subject
                )
            ).one_or_none()
        )
        good = await self._verify(row.secret if row is not None and row.secret else self._decoy, password)
        if row is None or not good:
            raise NotAuthenticated("name or password is wrong")
        if self._hasher.check_needs_rehash(row.secret):
            fresh = await self.hash(password)
            await self._database.change(lambda connection: replace(connection, row.user, fresh))
        return str(row.user)

    async def throttle(self, subject: str, address: str | None) -> None:
        """Count one try for this name and from this address; `RateLimited` when there were too many."""
        limit, period = self._settings.attempts, self._settings.attempts_period
        wait = await self._cache.allow(f"auth:name:{subject}", limit=limit, period=period)
        if not wait:
            wait = await allow_address_everywhere(self._cache, "auth:from", address, 5 * limit, period)
        if wait:
            raise RateLimited(f"too many tries: again in {wait:.0f} s", retry_after=round(wait, 3))

    async def hash(self, password: str) -> str:
        """What is kept of a password."""
        return await self._run(self._hasher.hash, password)

    async def of_user(self, user: str, password: str | None) -> bool | None:
        """Whether this is the user's password; None: has none yet."""
        kept = await self._database.read(
            lambda connection: connection.execute(
                select(identity.c.secret).where(identity.c.provider == PROVIDER, identity.c.user == user)
            ).scalar_one_or_none()
        )
        if kept is None:
            return None
        return password is not None and await self._verify(kept, password)

    async def _verify(self, kept: str, password: str) -> bool:
        def verify(text: str) -> bool:
            try:
                return self._hasher.verify(kept, text)
            except (VerificationError, InvalidHashError):
                return False

        return await self._run(verify, password)

    async def _run(self, work: Callable[[str], T], password: str) -> T:
        if self._queued >= QUEUED:
            raise Unavailable("too many logins at once: try again", retry_after=1.0)
        self._queued += 1
        try:
            async with self._places:
                return await asyncio.to_thread(work, password)
        finally:
            self._queued -= 1


def keep(connection: Connection, user: str, name: str, secret: str) -> None:
    """This user's first password; `Conflict` when somebody else logs in by that name."""
    subject = folded(name)
    taken = connection.execute(
        select(identity.c.user).where(identity.c.provider == PROVIDER, identity.c.subject == subject)
    ).scalar_one_or_none()
    if taken is not None:
        raise Conflict("name: somebody else logs in by this name", field="name")
    connection.execute(identity.insert(), {"provider": PROVIDER, "subject": subject, "user": user, "secret": secret})


def replace(connection: Connection, user: str, secret: str) -> str:
    """Another password for one who has one; the name that goes with it."""
    mine = (identity.c.provider == PROVIDER) & (identity.c.user == user)
    connection.execute(update(identity).where(mine).values(secret=secret))
    return str(connection.execute(select(identity.c.subject).where(mine)).scalar_one())
