"""The settings of offline push: ``[push]``."""

from __future__ import annotations

from typing import Annotated

from attrs import define
from chat_common.settings import setting
from msgspec import Meta


@define(kw_only=True)
class PushSettings:
    """Section ``[push]``."""

    in_flight: Annotated[int, Meta(ge=1, le=10_000)] = setting(
        64, help="Addresses that each provider is sending to at the same time, at most."
    )
    timeout: Annotated[float, Meta(gt=0, le=300)] = setting(
        30.0, help="Seconds that a provider may take for one notification; then it is tried again later."
    )
    late_after: Annotated[float, Meta(ge=0)] = setting(
        600.0,
        help="Seconds after which a message is told of late: late ones of several conversations are one summary.",
    )
    max_age: Annotated[float, Meta(gt=0, le=2_419_200)] = setting(
        86_400.0, help="Seconds after which nobody is told of a message any more, and platforms drop it."
    )
