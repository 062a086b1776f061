"""Guests: sessions of nobody, which wait for a login. They are few for each address, and gone with their connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from chat_common.errors import RateLimited
from chat_common.protocol.closing import CloseCode

from chat_server.counting import counted_as
from chat_server.gateway.session import Session

AGAIN = 30.0
"""Seconds after which a guest who was turned away may try again."""


class Guests:
    """Those of a node: ``most`` for each address (IPv6: a /64, ten times as many for a /48), for ``lifetime`` s."""

    def __init__(self, most: int, lifetime: float, now: Callable[[], float]) -> None:
        self._most, self._lifetime, self._now = most, lifetime, now
        self._since: dict[Session, tuple[float, str | None]] = {}
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._since)

    def enter(self, session: Session, address: str | None) -> None:
        """Count one; `RateLimited`: there are too many from there. None, which is this machine, is not counted."""
        keys = counted_as(address) if address is not None else ()
        if any(self._by_address[key] >= self._most * times for key, times in keys):
            raise RateLimited(
                f"There are {self._most} people at your address who are about to log in: try again in {AGAIN:g} s.",
                limit=self._most,
                retry_after=AGAIN,
            )
        self._since[session] = (self._now(), address)
        self._by_address.update(key for key, _ in keys)

    def due(self, session: Session) -> float:
        """Seconds until this guest has waited long enough; then it ends."""
        known = self._since.get(session)
        if known is None:
            return float("inf")
        left = known[0] + self._lifetime - self._now()
        if left <= 0:
            session.close(CloseCode.SESSION_OVER, "nobody has logged in", reconnect="sync")
        return left

    def forget(self, session: Session) -> None:
        """It is over."""
        known = self._since.pop(session, None)
        for key, _ in counted_as(known[1]) if known is not None and known[1] is not None else ():
            self._by_address[key] -= 1
            if self._by_address[key] <= 0:
                del self._by_address[key]
