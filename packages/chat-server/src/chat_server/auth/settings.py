"""The section ``[auth]``."""

from __future__ import annotations

from typing import Annotated, Literal

from attrs import Factory, define
from chat_common.settings import setting
from msgspec import Meta


@define(kw_only=True)
class AuthSettings:
    secret: str = setting(
        "", help="Signing key of 32 bytes or more; empty: made at the first start and kept in the store.", secret=True
    )
    token_lifetime: float = setting(30 * 24 * 3600.0, help="Lifetime of a token, in seconds.")
    renew_before: float = setting(24 * 3600.0, help="How long before its end a live session gets a new token, in s.")
    dev: bool = setting(False, help="Offer the provider dev: log in by name alone. For trying out.")
    registration: Literal["open", "invite", "closed"] = setting(
        "open", help="Who may make an account: everybody, who knows a code of `invite`, or nobody."
    )
    invite: list[str] = setting(
        Factory(list), help="Codes with which one may register; each as often as you like.", secret=True
    )
    sessions: Literal["all", "one_per_platform", "one"] = setting(
        "all", help="Devices of one user at a time: a new one ends the others, or those of its platform."
    )
    attempts: Annotated[int, Meta(ge=1)] = setting(
        10, help="Passwords tried for one name within `attempts_period`; five times as many from one address."
    )
    attempts_period: Annotated[float, Meta(gt=0)] = setting(300.0, help="Seconds.")
