"""Guests: sessions of nobody, which wait for a login. They are few for each address, gone with their connection, and
live as long as the ticket that they have begun."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from chat_common.errors import RateLimited
from chat_common.protocol.closing import CloseCode

from chat_server.counting import counted_as
from chat_server.gateway.session import Session
from chat_server.refusals import Refusals

AGAIN = 30.0
"""Seconds after which a guest who was turned away may try again."""
LAST_WORD = 5.0
"""Seconds that a guest outlives its ticket, to hear that it is over."""


class Guests:
    """Those of a node: ``most`` for each address (IPv6: a /64, ten times as many for a /48), for ``lifetime`` s, or
    until their ticket ends."""

    def __init__(self, most: int, lifetime: float, now: Callable[[], float], refusals: Refusals) -> None:
        self._most, self._lifetime, self._now, self._refusals = most, lifetime, now, refusals
        self._until: dict[Session, tuple[float, str | None]] = {}
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._until)

    def enter(self, session: Session, address: str | None) -> None:
        """Count one; `RateLimited`: there are too many from there. None, which is this machine, is not counted."""
        keys = counted_as(address) if address is not None else ()
        if any(self._by_address[key] >= self._most * times for key, times in keys):
            self._refusals.note("guests_of_one_address", address=address, most=self._most)
            raise RateLimited(
                f"{self._most} people at your address are about to log in already. Try again in {AGAIN:g} s.",
                limit=self._most,
                retry_after=AGAIN,
            )
        self._until[session] = (self._now() + self._lifetime, address)
        self._by_address.update(key for key, _ in keys)

    def began(self, session: Session, ticket_lifetime: float) -> None:
        """This guest has begun a login, which may take so many seconds from now: a later ticket counts, an earlier one
        is of no use any more. Nothing happens to who is no guest."""
        known = self._until.get(session)
        if known is not None:
            self._until[session] = (self._now() + ticket_lifetime + LAST_WORD, known[1])

    def due(self, session: Session) -> float:
        """Seconds until this guest has waited long enough; then it ends."""
        known = self._until.get(session)
        if known is None:
            return float("inf")
        left = known[0] - self._now()
        if left <= 0:
            session.close(CloseCode.SESSION_OVER, "nobody has logged in", reconnect="sync")
        return left

    def forget(self, session: Session) -> None:
        """It is over."""
        known = self._until.pop(session, None)
        for key, _ in counted_as(known[1]) if known is not None and known[1] is not None else ():
            self._by_address[key] -= 1
            if self._by_address[key] <= 0:
                del self._by_address[key]
