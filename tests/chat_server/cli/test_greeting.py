from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chat_server.cli.greeting import first_admin, greeting
from chat_server.server import Server

URL = "http://127.0.0.1:8080"


def listening(**given: Any) -> Server:
    """A server that listens by itself, as `chat-server` runs it."""
    server = Server(**given)
    server.standalone = True
    return server


@pytest.mark.parametrize(
    ("settings", "said", "unsaid"),
    [
        ({"auth": {"dev": True}}, ["anybody can log in as anybody", "phone  none can open"], ["user add", "█"]),
        ({"auth": {"registration": "closed"}}, ["registration is closed", "user add NAME --role admin"], ["anybody"]),
        (
            {"server": {"public_url": "https://chat.example.org"}},
            ["phone  https://chat.example.org", "█"],
            ["none can"],
        ),
    ],
)
async def test_a_start_says_mode_data_phone_and_how_to_stop(
    tmp_path: Path, settings: dict[str, dict[str, Any]], said: list[str], unsaid: list[str]
) -> None:
    settings["server"] = {"data": str(tmp_path), **settings.get("server", {})}
    async with listening(settings=settings, environ={}) as server:
        lines = greeting(server, URL, terminal=True)
    assert lines[0] == f"Interesting-Chat is ready: {URL}"
    text = "\n".join(lines)
    for words in [*said, str(tmp_path), "Ctrl+C"]:
        assert words in text
    for words in unsaid:
        assert words not in text


@pytest.mark.parametrize("public", ["", "https://chat.example.org"])
async def test_the_first_start_shows_a_link_for_the_first_admin(tmp_path: Path, public: str) -> None:
    settings = {"server": {"data": str(tmp_path), "public_url": public}}
    async with listening(settings=settings, environ={}) as server:
        code = await first_admin(server)
        assert code is not None
        text = "\n".join(greeting(server, URL, code, terminal=True))
        assert f"admin  {public or URL}/?invite={code} makes the first one: once, within a day" in text
        assert "registration is invite" in text
        for word in (str(tmp_path), "phone  ", "Ctrl+C"):
            assert word in text
        made = await server.call("auth.register", {"name": "Ada", "password": "correct horse", "invite": code})
        assert await server.rooms.admin.users.role_of(made.user.user) == "admin"
        assert await first_admin(server) is None
        assert "`chat-server user add NAME --role admin`" in "\n".join(greeting(server, URL, None, terminal=True))


async def test_who_needs_no_link_gets_none(tmp_path: Path) -> None:
    for name, settings in [("dev", {"auth": {"dev": True}}), ("qr", {"ports": {"identity_provider": ["qr"]}})]:
        async with listening(settings={"server": {"data": str(tmp_path / name)}, **settings}, environ={}) as server:
            assert await first_admin(server) is None, name


async def test_what_is_no_terminal_gets_no_code(tmp_path: Path) -> None:
    settings = {"server": {"data": str(tmp_path), "public_url": "https://chat.example.org"}}
    async with listening(settings=settings, environ={}) as server:
        assert "█" not in "\n".join(greeting(server, URL, terminal=False))
