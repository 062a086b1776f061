"""The section ``[auth]``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import attrs
from attrs import Factory, define
from chat_common.settings import setting
from msgspec import Meta

DAY = 24 * 3600.0


@define(kw_only=True)
class AuthSettings:
    secret: str = setting(
        "",
        help="Signing key of 32 bytes or more, or file:PATH of one; empty: made at the first start and kept in the"
        " store.",
        secret=True,
    )
    keys: list[str] = setting(
        Factory(list),
        help="Signing keys to change to without logging anybody out, newest first: the first signs, all are believed,"
        " and `secret` too. Each is a key, file:PATH, or `stored` for the one in the store.",
        secret=True,
    )
    preset: Literal["", "single"] = setting(
        "", help="`single`: one login per user at a time, 5 days, renewed in its last day, unless set otherwise."
    )
    token_lifetime: Annotated[float, Meta(gt=0)] = setting(
        30 * DAY, help="Lifetime of a token in seconds: a login that is not used for so long is over."
    )
    renew_before: Annotated[float, Meta(ge=0)] = setting(
        DAY, help="Seconds before the end of a token at which its session is pushed a fresh one."
    )
    login_lifetime: Annotated[float, Meta(ge=0)] = setting(
        180 * DAY, help="Lifetime of a login in seconds, however often its token is renewed; 0: no limit."
    )
    grace: Annotated[float, Meta(ge=0)] = setting(
        60.0, help="Seconds for which a renewed token stays good after its successor was first used."
    )
    dev: bool = setting(False, help="Offer the provider dev: log in by name alone. For trying out.")
    registration: Literal["", "open", "invite", "closed"] = setting(
        "",
        help="Who may make an account: everybody, who knows a code of `invite` or `chat-server invite new`, or nobody."
        " Empty: `invite`, and `open` with `dev`.",
    )
    invite: list[str] = setting(
        Factory(list), help="Codes with which people may register; each as often as they like.", secret=True
    )
    sessions: Literal["one", "one_per_platform", "per_device"] = setting(
        "per_device", help="Logins of one user at a time: one, one of each platform, or one of each device."
    )
    on_conflict: Literal["replace", "refuse"] = setting(
        "replace", help="What a login over that limit does: it ends others, or it is refused with a list of them."
    )
    devices_max: Annotated[int, Meta(ge=0)] = setting(
        10, help="Logins of one user at a time under `per_device`; 0: no limit."
    )
    attempts: Annotated[int, Meta(ge=1)] = setting(
        10, help="Passwords tried for one name within `attempts_period`; five times as many from one address."
    )
    attempts_period: Annotated[float, Meta(gt=0)] = setting(300.0, help="Seconds.")


PRESETS: dict[str, dict[str, Any]] = {
    "": {},
    "single": {"sessions": "one", "on_conflict": "replace", "token_lifetime": 5 * DAY, "renew_before": DAY},
}


def with_preset(settings: AuthSettings) -> AuthSettings:
    """Return the settings with the preset's values in place of those that are still at their default, and with the
    registration that an empty one stands for."""
    defaults = AuthSettings()
    chosen = {
        name: value
        for name, value in PRESETS[settings.preset].items()
        if getattr(settings, name) == getattr(defaults, name)
    }
    chosen["registration"] = settings.registration or ("open" if settings.dev else "invite")
    return attrs.evolve(settings, **chosen)
