"""What the cache says of a login, so that a call over HTTP need not ask the store each time.

The store is the truth, the cache may forget everything. An ending is committed first and put here afterwards; a reader
only adds "it lives", which cannot overwrite "it has ended". What cannot be read in time is not a yes: then the store
is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import msgspec
import structlog
from chat_common import wire
from chat_common.clock import Clock
from chat_common.decoding import prepare
from chat_common.ports.cache import Cache

T = TypeVar("T")
log = structlog.get_logger("chat.auth")
LIVES_FOR = 30.0
"""Seconds that "it lives" is believed: no longer than the grace in which a retired token is good anyway."""
PATIENCE = 0.25
"""Seconds after which a cache that does not answer is passed over."""


class Lives(msgspec.Struct, tag="lives", frozen=True):
    """The login lives, and ``token`` is the id of one of its own."""

    token: str
    user: wire.User
    device: str
    expires_at: int


class HasEnded(msgspec.Struct, tag="ended", frozen=True):
    """The login was ended."""

    by: str


prepare(Lives, HasEnded)


class Verdicts:
    """Verdicts on logins, by their ids. No method raises for a cache that is away or slow."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock

    async def of(self, login: str) -> Lives | HasEnded | None:
        """Return what the cache knows of this login; None when it knows nothing or does not answer."""
        found = await self._ask(self._cache.get(_key(login)))
        if found is None:
            return None
        try:
            return msgspec.msgpack.decode(found, type=Lives | HasEnded)
        except msgspec.DecodeError:
            return None

    async def lives(self, login: str, verdict: Lives) -> None:
        """Remember that the store has just said that it lives."""
        await self._ask(self._cache.add(_key(login), msgspec.msgpack.encode(verdict), ttl=LIVES_FOR))

    async def ended(self, login: str, by: str, expires_at: int) -> None:
        """Remember that it was ended, as long as a token of it could be shown."""
        left = max(LIVES_FOR, (expires_at - self._clock.wall_ms()) / 1000)
        await self._ask(self._cache.put(_key(login), msgspec.msgpack.encode(HasEnded(by)), ttl=left))

    async def _ask(self, question: Awaitable[T]) -> T | None:
        try:
            async with asyncio.timeout(PATIENCE):
                return await question
        except TimeoutError:
            log.warning("verdict_cache_slow", after=PATIENCE)
        except Exception as error:
            log.warning("verdict_cache_away", error=type(error).__name__)
        return None


def _key(login: str) -> str:
    return f"auth:login:{login}"
