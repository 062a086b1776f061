"""What a server inside an application leaves out unless it is asked for: nobody gets in but by the application."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from chat_common.settings import Settings, SetupError


def check(settings: Settings, *, identifies: bool, has_rooms: bool) -> None:
    """`SetupError`: the application cannot say whose a request is in this process, or must not with these settings."""
    if identifies and not has_rooms:
        raise SetupError("identify= needs a process that has the rooms, and their store of users: see [server] roles.")
    if identifies and "*" in settings.section("server").allowed_origins:
        raise SetupError(
            '[server] allowed_origins: "*" with identify= lets every page act as whoever looks at it: name the origins.'
        )


def is_closed(settings: Settings) -> bool:
    """Whether the server's own ways to log in are off: nobody has asked for any."""
    asked = [("auth", "registration"), ("ports", "identity_provider")]
    return not settings.section("auth").dev and not any(settings.is_given(*each) for each in asked)


def section_of(settings: Settings, name: str) -> Any:
    """A section as a mounted server has it: registration closed, no web client."""
    found = settings.section(name)
    if name == "auth" and not found.registration and not found.dev:
        return evolve(found, registration="closed")
    if name == "http" and not settings.is_given("http", "web_client"):
        return evolve(found, web_client=False)
    return found
