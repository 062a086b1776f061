"""The policy alone, as a function: who ends, who is kept out."""

from __future__ import annotations

from typing import Any

import pytest
from chat_server.auth.policy import Decision, Held, Newcomer, Policy, class_of
from chat_server.auth.settings import AuthSettings, with_preset

A = Held("login-a", "iphone", "ios", "iPhone", 1_000, True)
W = Held("login-w", "web", "web", "Browser", 2_000, True)
B = Newcomer("pixel", "android")


def policy(**settings: Any) -> Policy:
    return Policy.of(AuthSettings(**settings))


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("iOS", "mobile"), ("android", "mobile"), ("linux", "desktop"), ("web", "web"), ("tv", "other"), (None, "other")],
)  # fmt: skip
def test_platforms_have_classes(platform: str | None, expected: str) -> None:
    assert class_of(platform) == expected


@pytest.mark.parametrize(
    ("settings", "newcomer", "held", "ends"),
    [
        ({"sessions": "one"}, B, [A, W], ["login-a", "login-w"]),
        ({"sessions": "one_per_platform"}, B, [A, W], ["login-a"]),
        ({"sessions": "one_per_platform"}, Newcomer("nobody", None), [A, W], []),
        ({"devices_max": 2}, B, [A, W], ["login-a"]),
        ({"devices_max": 1}, B, [W, A], ["login-a", "login-w"]),
        ({"devices_max": 0}, B, [A, W], []),
        ({"devices_max": 2}, Newcomer("web", "web"), [A, W], ["login-w"]),
        ({"devices_max": 2}, Newcomer("pixel", "android", replace="web"), [A, W], ["login-w"]),
        ({"devices_max": 2}, Newcomer("pixel", "android", replace="login-w"), [A, W], ["login-w"]),
        ({"devices_max": 2}, Newcomer(None, None), [A, W], ["login-a"]),
        ({"sessions": "one", "on_conflict": "refuse"}, Newcomer("pixel", replace="iphone"), [A], ["login-a"]),
    ],
)
def test_who_ends(settings: dict[str, Any], newcomer: Newcomer, held: list[Held], ends: list[str]) -> None:
    assert policy(**settings).decide(newcomer, held) == Decision(end=ends)


@pytest.mark.parametrize(
    ("settings", "held", "blocking"),
    [
        ({"sessions": "one"}, [A], [A]),
        ({"sessions": "one_per_platform"}, [A, W], [A]),
        ({"devices_max": 2}, [A, W], [A, W]),
        ({"devices_max": 2}, [Held("x", "x", None, None, 0, False), W], "all"),
    ],
)
def test_who_keeps_the_newcomer_out(settings: dict[str, Any], held: list[Held], blocking: Any) -> None:
    found = policy(on_conflict="refuse", **settings).decide(B, held)
    assert found == Decision(blocking=held if blocking == "all" else blocking)


def test_one_without_a_device_matches_no_other_without_a_device() -> None:
    nameless = Held("login-n", None, None, None, 1, True)
    assert policy(devices_max=5).decide(Newcomer(), [nameless]) == Decision(end=[])


def test_a_preset_fills_what_is_not_set() -> None:
    single = with_preset(AuthSettings(preset="single"))
    assert (single.sessions, single.on_conflict, single.token_lifetime) == ("one", "replace", 5 * 86_400)
    mine = with_preset(AuthSettings(preset="single", token_lifetime=60.0))
    assert (mine.sessions, mine.token_lifetime) == ("one", 60.0)
    assert with_preset(AuthSettings()) == AuthSettings(registration="invite")


@pytest.mark.parametrize(
    ("dev", "given", "meant"),
    [(False, "", "invite"), (True, "", "open"), (True, "invite", "invite"), (False, "open", "open")],
)
def test_registration_is_by_invite_unless_names_alone_let_people_in(dev: bool, given: Any, meant: str) -> None:
    assert with_preset(AuthSettings(dev=dev, registration=given)).registration == meant
