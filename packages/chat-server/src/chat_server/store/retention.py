"""How long messages are kept: by default, as an operator says of a group, and as the group itself says."""

from __future__ import annotations

from typing import Annotated, Any

from attrs import define
from chat_common.errors import Invalid, NotPermitted
from chat_common.settings import setting
from msgspec import Meta

MOST_DAYS = 36_500
Days = Annotated[int, Meta(ge=0, le=MOST_DAYS)]
"""0: for ever."""
DAY_MS = 86_400_000


@define(kw_only=True)
class RetentionSettings:
    """Section ``[retention]``."""

    days: Days = setting(0, help="Days after which a message is deleted for everybody; 0: never.")
    groups: bool = setting(
        True, help="Let owners and admins of groups choose to have messages there deleted sooner than that."
    )
    group_least: Annotated[int, Meta(ge=1, le=MOST_DAYS)] = setting(1, help="The fewest days that they may choose.")


def check_choice(settings: RetentionSettings, days: int) -> None:
    """Whether a group may choose this (0: no choice of its own); `NotPermitted` or `Invalid` tells why not."""
    if days == 0:
        return
    if not settings.groups:
        raise NotPermitted("On this server groups do not choose how long messages are kept.", field="kept_days")
    if days < settings.group_least:
        least = settings.group_least
        raise Invalid(
            f"kept_days: Messages are kept for at least {least} day{'s' if least > 1 else ''}.",
            field="kept_days",
            limit=least,
        )


def days_of(row: Any, overall: int) -> int:
    """For how many days the messages of a conversation are kept; 0: for ever. What the group has chosen can only
    shorten what the operator says, of this group or of all."""
    said = overall if row.kept_days is None else row.kept_days
    return min((days for days in (said, row.own_days) if days), default=0)


def cutoff(now: int, days: int) -> int:
    """Messages from before this moment (ms) are due at ``now``. A whole number of days since 1970 UTC, so that a
    conversation in which something is said all the time is stamped for it once a day, and not each time that somebody
    looks: a message is kept for ``days``, and for less than one day more."""
    return (now // DAY_MS - days) * DAY_MS
