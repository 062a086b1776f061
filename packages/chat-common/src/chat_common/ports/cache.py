"""The cache: small values with a lifetime, counters, and fenced locks. May forget everything at any time."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Cache(Protocol):
    """Every operation is atomic. Keys are text, values bytes, lifetimes (``ttl``) seconds > 0.

    Nothing in it is the truth: after a loss the callers are slower, never wrong.
    """

    async def get(self, key: str) -> bytes | None:
        """The value, or None when absent or over its lifetime."""
        ...

    async def put(self, key: str, value: bytes, *, ttl: float) -> None: ...

    async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Put only if absent; True exactly when it was put (once among all that race)."""
        ...

    async def take(self, key: str) -> bytes | None:
        """Get and delete in one step: at most one of all that race gets the value."""
        ...

    async def delete(self, key: str) -> None: ...

    async def count(self, key: str, by: int = 1, *, ttl: float) -> int:
        """Add to a counter, which starts at 0 with its lifetime counted from the first; returns the sum."""
        ...

    async def allow(self, key: str, *, limit: int, period: float) -> float:
        """GCRA rate limit of ``limit`` per ``period`` seconds: 0.0 = allowed and counted, else seconds to wait."""
        ...

    def hold(self, key: str, *, ttl: float, wait: float = 10.0) -> AbstractAsyncContextManager[int]:
        """A lock, fenced: gives a number that grows with every holder of this key. `Unavailable` after ``wait`` s.

        It saves work, it does not guarantee exclusion beyond ``ttl``: the caller writes under the number or a
        UNIQUE constraint.
        """
        ...
