"""How many may write to the local store at once: in all, and to one place."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from attrs import define, field
from chat_common.errors import RateLimited, Unavailable

from chat_oss.tickets import Ticket

LINK_USES = 2
"""A client whose connection broke comes again before the server has noticed: two, of which the last to end stays."""
RETRY_SECONDS = 5.0
"""When to come again while the store is full: uploads end all the time."""


@define
class Admission:
    """Counts the uploads under way. Knows nobody: who holds a link holds a permission."""

    most: int
    patience: float
    """Seconds after which a use of a link that has fallen silent is over."""
    _count: int = field(default=0, init=False)
    _uses: Counter[tuple[str, str, int]] = field(factory=Counter, init=False)

    @contextlib.contextmanager
    def enter(self, ticket: Ticket) -> Iterator[None]:
        """Hold a place while the body comes. `Unavailable`: all are taken; `RateLimited`: those of this link are."""
        place = (ticket.key, ticket.upload, ticket.number)  # a part has as many links as were asked for
        if self._uses[place] >= LINK_USES:
            text = f"At most {LINK_USES} uploads at once may use one link."
            raise RateLimited(text, limit=LINK_USES, retry_after=self.patience)
        if self._count >= self.most:
            raise Unavailable(
                f"{self.most} uploads are under way. Try again in a moment.", limit=self.most, retry_after=RETRY_SECONDS
            )
        self._count += 1
        self._uses[place] += 1
        try:
            yield
        finally:
            self._count -= 1
            self._uses[place] -= 1
            self._uses += Counter()  # forgets what is at zero
