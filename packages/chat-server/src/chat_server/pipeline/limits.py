"""How many calls one user, or one address of guests, may make."""

from __future__ import annotations

from typing import Annotated, Any

from attrs import frozen
from chat_common.clock import Clock
from chat_common.errors import RateLimited
from chat_common.memory.rates import Rates
from chat_common.records import Caller
from chat_common.settings import setting
from msgspec import Meta

from chat_server.counting import allow_address


@frozen(kw_only=True)
class LimitSettings:
    """Section ``[limits]``: each node counts by itself."""

    calls: Annotated[int, Meta(ge=0)] = setting(20_000, help="Calls of one user within `period` at most; 0: no limit.")
    guest_calls: Annotated[int, Meta(ge=0)] = setting(
        120, help="Calls of guests from one address within `period` at most; 0: no limit. This machine is exempt."
    )
    period: Annotated[float, Meta(gt=0)] = setting(10.0, help="Seconds.")


class RateLimit:
    """The built-in interceptor ``rate_limit``. What the application itself calls in process is not counted."""

    __slots__ = ("_calls", "_guest_calls", "_period", "_rates")

    def __init__(self, settings: LimitSettings, clock: Clock) -> None:
        self._calls, self._guest_calls, self._period = settings.calls, settings.guest_calls, settings.period
        self._rates = Rates(clock)

    def __call__(self, caller: Caller, request: Any) -> Any:
        if caller.origin == "local":
            return request
        limit = self._calls if caller.user is not None else self._guest_calls
        if limit:
            if caller.user is not None:
                wait = self._rates.allow(caller.user, limit, self._period)
            else:
                wait = allow_address(self._rates, "@", caller.address, limit, self._period)
            if wait:
                raise RateLimited(
                    f"at most {limit} calls in {self._period:g} s: try again in {wait:.1f} s",
                    limit=limit,
                    retry_after=round(wait, 3),
                )
        return request
