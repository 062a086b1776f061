"""A circuit breaker: after some failures in a row nobody waits for a dead store; now and then one tries."""

from __future__ import annotations

from typing import Annotated, Literal

from attrs import define, field, frozen
from chat_common.clock import Clock
from chat_common.errors import Unavailable
from chat_common.settings import setting
from msgspec import Meta


@frozen(kw_only=True)
class BreakerSettings:
    failures: Annotated[int, Meta(ge=1)] = setting(3, help="Failures in a row after which the store counts as dead.")
    pause: Annotated[float, Meta(gt=0)] = setting(5.0, help="Seconds until one request tries a dead store again.")


@define
class Breaker:
    """closed: everything passes · open: nothing does, until the pause is over · trying: one is on its way.

    ======== ===================== ==============================
    state    success               failure
    ======== ===================== ==============================
    closed   failures = 0          failures + 1; enough → open
    trying   → closed              → open, the pause begins anew
    open     –  (an old request's) –
    ======== ===================== ==============================
    """

    settings: BreakerSettings
    clock: Clock
    state: Literal["closed", "open", "trying"] = "closed"
    failures: int = 0
    _until: float = field(default=0.0, init=False)

    def enter(self) -> bool:
        """Before a request; true when it is the one that tries. `Unavailable` with ``retry_after`` while open."""
        if self.state == "closed":
            return False
        wait = self._until - self.clock.monotonic()
        if self.state == "trying" or wait > 0:
            raise Unavailable(
                "The object store does not answer. Try again later.", retry_after=max(round(wait, 1), 0.5)
            )
        self.state = "trying"
        return True

    def succeeded(self, trial: bool) -> None:
        if trial or self.state == "closed":
            self.state, self.failures = "closed", 0

    def failed(self, trial: bool) -> None:
        if self.state == "closed":
            self.failures += 1
        if trial or (self.state == "closed" and self.failures >= self.settings.failures):
            self.state = "open"
            self._until = self.clock.monotonic() + self.settings.pause

    def gave_up(self, trial: bool) -> None:
        """The request was cancelled: it says nothing of the store."""
        if trial:
            self.state = "open"
