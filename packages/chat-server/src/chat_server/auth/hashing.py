"""Hashes passwords off the event loop, a few at a time; those that wait take turns by address.

An argon2id hash costs 50 ms of a core and 64 MB. Whoever sends many passwords waits behind himself: every address has
a share of the queue, and the next turn goes to another address that waits.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION
from chat_common.errors import Unavailable

from chat_server.counting import counted_as

T = TypeVar("T")
AT_ONCE = 2
WAITING = 64
SHARE = 8


class Turns:
    """At most ``at_once`` hold a turn, at most ``waiting`` wait for one, ``share`` of them from one address."""

    def __init__(self, at_once: int = AT_ONCE, waiting: int = WAITING, share: int = SHARE) -> None:
        self._free = at_once
        self._waiting, self._share = waiting, share
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(line) for line in self._lines.values())

    async def take(self, address: str | None) -> None:
        """Wait for a turn. `Unavailable`: too many wait, in all or from this address."""
        if self._free:
            self._free -= 1
            return
        key = counted_as(address)[0][0] if address is not None else ""
        line = self._lines.get(key)
        # A request from this machine has no address, and no share either: it may come from a proxy.
        if self.waiting >= self._waiting or (address is not None and line is not None and len(line) >= self._share):
            raise Unavailable("Too many people log in at this moment. Try again in a second.", retry_after=1.0)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(key, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()  # The turn had come in the same moment: it goes on to the next.
            else:
                self._leave(key, turn)
            raise

    def give_back(self) -> None:
        """End a turn: the next goes to the address that has waited longest since its last one."""
        while self._lines:
            key, line = next(iter(self._lines.items()))
            turn = line.popleft()
            del self._lines[key]
            if line:
                self._lines[key] = line
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _leave(self, key: str, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(key)
        if line is not None and turn in line:
            line.remove(turn)
            if not line:
                del self._lines[key]


class Hasher:
    """argon2id with turns. A decoy, which nobody knows, is checked where there is no hash."""

    def __init__(self, turns: Turns | None = None) -> None:
        self._hasher = PasswordHasher()
        self._turns = turns or Turns()
        self._decoy = _decoy(self._hasher)

    async def hash(self, password: str, address: str | None = None) -> str:
        """Return what is kept of a password."""
        return await self._run(self._hasher.hash, password, address)

    async def verify(self, kept: str | None, password: str, address: str | None = None) -> bool:
        """Whether this is the password of the hash ``kept``; for None the same work is done, and the answer is no."""

        def check(text: str) -> bool:
            try:
                return self._hasher.verify(kept or self._decoy, text) and kept is not None
            except (VerificationError, InvalidHashError):
                return False

        return await self._run(check, password, address)

    def is_outdated(self, kept: str) -> bool:
        """Whether the hash was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(kept)

    async def _run(self, work: Callable[[str], T], password: str, address: str | None) -> T:
        await self._turns.take(address)
        # Shielded: a thread cannot be cancelled, and its turn is over only when it is.
        return await asyncio.shield(self._in_thread(work, password))

    async def _in_thread(self, work: Callable[[str], T], password: str) -> T:
        try:
            return await asyncio.to_thread(work, password)
        finally:
            self._turns.give_back()


def _decoy(hasher: PasswordHasher) -> str:
    """Return the hash of no password that anybody knows, with the parameters of ``hasher``: checking a password against
    it costs what a real one costs. It is drawn, not computed, as every start would wait for that."""

    def drawn(size: int) -> str:
        return base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=")

    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${cost}${drawn(hasher.salt_len)}${drawn(hasher.hash_len)}"
