"""How far one session has been brought, as a number without holes."""

from __future__ import annotations


class VersionTracker:
    """Advances ``version`` over the numbers that were pushed, and never over one that was not.

    Numbers may come out of order: what stands beyond a hole waits. At most ``limit`` numbers wait; what is forgotten
    beyond that leaves a hole, which a sync closes. Forgetting is safe, skipping would not be.
    """

    __slots__ = ("_waiting", "limit", "version")

    def __init__(self, version: int = 0, limit: int = 1024) -> None:
        self.version = version
        self.limit = limit
        self._waiting: set[int] | None = None

    def pushed(self, version: int) -> None:
        """This number was pushed; 0 and what is covered already change nothing."""
        if version == self.version + 1:
            self.version = version
            if self._waiting is not None:
                self._advance()
        elif version > self.version:
            if self._waiting is None:
                self._waiting = set()
            if len(self._waiting) < self.limit:
                self._waiting.add(version)

    def synced(self, version: int) -> None:
        """The client holds everything up to here; never goes back."""
        if version > self.version:
            self.version = version
        if self._waiting is not None:
            self._waiting = {later for later in self._waiting if later > self.version}
            self._advance()

    @property
    def waiting(self) -> int:
        """How many numbers stand beyond a hole."""
        return 0 if self._waiting is None else len(self._waiting)

    def _advance(self) -> None:
        waiting = self._waiting
        assert waiting is not None
        while self.version + 1 in waiting:
            self.version += 1
            waiting.remove(self.version)
        if not waiting:
            self._waiting = None
