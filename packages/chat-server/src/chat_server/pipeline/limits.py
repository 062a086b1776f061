"""How much one user, or one address of guests, may ask for: points, which every call takes some of."""

from __future__ import annotations

from typing import Annotated

from attrs import field, frozen
from chat_common.clock import Clock
from chat_common.errors import RateLimited
from chat_common.memory.rates import Rates
from chat_common.records import Caller
from chat_common.settings import setting
from msgspec import Meta

from chat_server.counting import allow_address
from chat_server.refusals import Refusals

Number = Annotated[int, Meta(ge=1)]
OrNone = Annotated[int, Meta(ge=0)]


@frozen(kw_only=True)
class LimitSettings:
    """Section ``[limits]``: each node counts by itself."""

    points: OrNone = setting(
        50, help="Points of one user a second; a message takes 1, `Command.cost` says. 0: no limit."
    )
    burst: Number = setting(
        400, help="Points that a user who was quiet may take at once, as a phone does that was offline."
    )
    guest_points: OrNone = setting(
        12, help="Points a second of all guests from one address (IPv6: a /64). This machine is exempt. 0: no limit."
    )
    guest_burst: Number = setting(120, help="Points that quiet guests of one address may take at once.")
    bots: list[str] = field(
        factory=list, metadata={"help": "Ids of users that are programs of yours, and have points of their own."}
    )
    bot_points: OrNone = setting(500, help="Points of one bot a second; 0: no limit.")
    bot_burst: Number = setting(5_000, help="Points that a bot may take at once.")


class RateLimit:
    """A bucket of points for each user. What the application itself calls in process is not counted."""

    __slots__ = ("_bots", "_rates", "_refusals", "_settings")

    def __init__(self, settings: LimitSettings, clock: Clock, refusals: Refusals) -> None:
        self._settings = settings
        self._bots = frozenset(settings.bots)
        self._rates = Rates(clock)
        self._refusals = refusals

    def charge(self, caller: Caller, cost: int) -> None:
        """Take the points of a call, before it is looked at; `RateLimited`: there are not that many, none is taken."""
        if caller.origin == "local":
            return
        limits = self._settings
        if caller.user is None:
            points, burst = limits.guest_points, limits.guest_burst
        elif caller.user in self._bots:
            points, burst = limits.bot_points, limits.bot_burst
        else:
            points, burst = limits.points, limits.burst
        if not points:
            return
        if caller.user is None:
            wait = allow_address(self._rates, "@", caller.address, burst, burst / points, cost)
        else:
            wait = self._rates.allow(caller.user, burst, burst / points, cost)
        if wait:
            self._refusals.note("rate", user=caller.user, address=caller.address, command=caller.command or None)
            raise RateLimited(
                f"This is too much at once: at most {points} points a second, where a message takes 1. Try again in"
                f" {wait:.1f} s.",
                limit=points,
                retry_after=round(wait, 3),
            )
