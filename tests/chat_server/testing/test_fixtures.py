"""The fixtures of `chat_server.testing`, as an application's tests have them: they come by the entry point."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from chat_common.client import ChatClient, connect
from chat_common.errors import NotAuthenticated
from chat_server.testing.faults import Faults
from chat_server.testing.running import RunningChat, user_of

Advance = Callable[[float], Awaitable[None]]
HOUR = 3600.0


def said(client: ChatClient, room: str) -> list[str]:
    return [message.body["text"] for message in client.state.room(room).timeline()]


async def test_two_people_talk(chat: RunningChat, ann: ChatClient, bob: ChatClient) -> None:
    room = await chat.direct(ann, bob)
    assert (await ann.submit(room, "hello")).time == chat.clock.wall_ms()
    await chat.until(lambda: said(bob, room) == ["hello"])
    assert (user_of(ann).name, user_of(bob).name) == ("Ann", "Bob")


async def test_factories_make_users_devices_and_groups(chat: RunningChat, ann: ChatClient) -> None:
    assert await chat.user("Ann") == user_of(ann)
    assert (await chat.user()).name != (await chat.user()).name
    tablet, carl = await chat.client("Ann"), await chat.client("Carl")
    room = await chat.group(ann, carl)
    await carl.submit(room, "hi all")
    for client in (ann, tablet):
        await chat.until(lambda client=client: said(client, room) == ["hi all"])  # type: ignore[misc]


async def test_time_passes_when_the_test_says_so(chat: RunningChat, ann: ChatClient, advance: Advance) -> None:
    before = chat.clock.wall_ms()
    await advance(10 * 60)
    assert chat.clock.wall_ms() == before + 600_000
    assert ann.connected
    token = await chat.server.issue_token(user_of(ann).user)
    await advance(31 * 24 * HOUR)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(chat.app), base_url="http://chat.test") as web:
        answer = await web.post("/api/user.me", json={}, headers={"authorization": f"Bearer {token}"})
        assert answer.json()["code"] == NotAuthenticated.code


async def test_a_lost_delivery_is_made_up_for(
    chat: RunningChat, ann: ChatClient, bob: ChatClient, faults: Faults, advance: Advance
) -> None:
    room = await chat.direct(ann, bob)
    await chat.until(lambda: room in bob.state.rooms)
    faults.drop(2)
    await ann.submit(room, "lost")
    await ann.submit(room, "lost too")
    await advance(120)
    await chat.until(lambda: said(bob, room) == ["lost", "lost too"])


async def test_what_is_late_arrives_when_its_time_has_come(
    chat: RunningChat, ann: ChatClient, bob: ChatClient, faults: Faults, advance: Advance
) -> None:
    room = await chat.direct(ann, bob)
    await ann.submit(room, "on time")
    await chat.until(lambda: said(bob, room) == ["on time"])
    faults.delay(2.0)
    sending = await chat.call(
        "submit", {"conversation": room, "kind": "text", "body": {"text": "late"}}, user=user_of(ann).user
    )
    assert sending.seq == 2
    await chat.until(lambda: faults.waiting == 2)
    await advance(1.0)
    assert said(bob, room) == ["on time"]
    await advance(2.0)
    await chat.until(lambda: said(bob, room) == ["on time", "late"])


async def test_who_is_cut_off_comes_back_and_misses_nothing(
    chat: RunningChat, ann: ChatClient, bob: ChatClient, faults: Faults
) -> None:
    room = await chat.direct(ann, bob)
    with faults.offline(bob):
        await ann.submit(room, "are you there?")
        await chat.until(lambda: not bob.connected)
    await chat.until(lambda: said(bob, room) == ["are you there?"])
    faults.cut(ann)
    await chat.until(lambda: not ann.connected)
    assert (await ann.submit(room, "yes")).seq == 2


async def test_others_come_by_a_port(chat: RunningChat, ann: ChatClient, served_chat: str) -> None:
    user = await chat.user("Dora")
    async with connect(served_chat, await chat.server.issue_token(user.user)) as dora:
        room = (await dora.direct(user_of(ann).user)).conversation
        await dora.submit(room, "from outside")
    await chat.until(lambda: said(ann, room) == ["from outside"])


class TestWithOptionsOfOnesOwn:
    @pytest.fixture
    def chat_options(self) -> dict[str, Any]:
        return {
            "settings": {"im": {"recall_seconds": 60.0}},
            "identify": lambda request: request.headers.get("x-person"),
        }

    async def test_the_server_is_made_with_them(self, chat: RunningChat) -> None:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(chat.app), base_url="http://chat.test") as web:
            answer = await web.post("/api/user.me", json={}, headers={"x-person": "42"})
            assert answer.json()["name"] == "42"


def test_the_plugin_costs_a_test_run_without_a_chat_nothing() -> None:
    script = "import sys, chat_server.testing.plugin; print(sorted(m for m in sys.modules if m.split('.')[0] in"
    script += " ('sqlalchemy', 'starlette', 'structlog', 'msgspec', 'websockets', 'uvicorn', 'chat_common')))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
