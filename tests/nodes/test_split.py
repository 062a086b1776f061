"""The sockets and the rooms in processes of their own: what clients see is what one process shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from chat_common.client import dev_login
from chat_common.protocol.frames import Beat, ClientNote, Error, Note, Push
from chat_common.settings import SetupError
from chat_server.roles import ROOMS
from chat_server.server import Server

from tests.nodes.cluster import Person, group
from tests.nodes.split import Part, Split, split_in
from tests.support.raw import raw


@asynccontextmanager
async def person(core: Part, gateway: Part, name: str, device: str) -> AsyncIterator[Person]:
    """Log in where HTTP is answered, connect where sockets are."""
    login = await dev_login(core.url, name, device)
    async with raw(gateway.url) as client:
        await client.hello(login.token, device)
        yield Person(login.user.user, login.token, device, client)


async def say(one: Person, room: str, text: str) -> Any:
    return await one.client.call("submit", {"conversation": room, "kind": "text", "body": {"text": text}})


def news(frame: Push | Beat) -> bool:
    return frame.behind if isinstance(frame, Beat) else frame.event == "message"


@pytest.fixture
async def split(tmp_path: Path) -> AsyncIterator[Split]:
    async with split_in(tmp_path) as found:
        yield found


async def test_two_gateways_without_a_database_show_what_one_process_shows(split: Split) -> None:
    async with split.of("g1", "g2") as (core, (one, two)):
        assert not list(split.folder.glob("g*")), "a gateway has no data"
        async with person(core, one, "ada", "a") as ada, person(core, two, "bob", "b") as bob:
            room = await group(ada, bob)
            await bob.client.next(Push, lambda it: it.data.get("conversation") == room)

            # Messages, in order, both ways.
            for number in range(20):
                await say(ada if number % 2 else bob, room, f"message {number}")
            for each in (ada, bob):
                assert await each.client.messages(20) == list(range(1, 21))

            # The log, read through the wire.
            page = await ada.client.call("history", {"conversation": room, "limit": 50})
            assert [it["seq"] for it in page["messages"] if it["kind"] == "text"][-20:] == list(range(1, 21))

            # Presence and typing.
            watched = await ada.client.call("presence.watch", {"users": [bob.user]})
            assert watched["online"] == [bob.user]
            await bob.client.send(ClientNote("typing", {"conversation": room}))
            note = await ada.client.next(Note, lambda it: it.event == "typing")
            assert note.data == {"conversation": room, "user": bob.user}

            # An error keeps its code and field; a guest's socket is told of its login wherever that runs.
            assert (await say(ada, "nowhere", "x")).code == "not_found"
            unknown = await ada.client.call("no.such")
            assert (unknown.code, unknown.field) == ("invalid", "command")
            async with raw(two.url) as screen:
                await screen.hello(None, "screen")
                begun = await screen.call("auth.begin", {"provider": "qr", "device": "screen"})
                code = begun["url"].rstrip("/").rsplit("/", 1)[-1].partition("?")[0]
                await core.server.rooms.auth.logins.scanned(code)
                assert (await screen.next(Push)).data["state"] == "scanned"

            # A kick closes the socket at the other gateway.
            async with person(core, two, "ada", "phone") as phone:
                await ada.client.call("auth.kick", {"device": "phone"})
                assert await phone.client.closed() == 4409


async def test_the_rooms_are_started_again_under_their_clients(split: Split) -> None:
    """Sockets stay; who calls meanwhile waits; what is said afterwards comes, although the directory has forgotten all
    that it knew."""
    async with AsyncExitStack() as stack:
        rooms = split.rooms()
        core = await rooms.__aenter__()
        one, two = [await stack.enter_async_context(split.gateway(name)) for name in ("g1", "g2")]
        ada = await stack.enter_async_context(person(core, one, "ada", "a"))
        bob = await stack.enter_async_context(person(core, two, "bob", "b"))
        room = await group(ada, bob)
        await say(ada, room, "before")
        assert await bob.client.messages(1) == [1]
        await rooms.__aexit__(None, None, None)
        calling = asyncio.create_task(say(ada, room, "while they are away"))
        async with split.rooms():
            assert (await calling)["seq"] == 2
            # It may be carried before the new process knows of the gateways: then their check finds it.
            came = await bob.client.next(Push | Beat, news, timeout=30)  # type: ignore[arg-type]
            assert isinstance(came, Beat) or came.data["seq"] == 2
            await say(ada, room, "afterwards")
            await bob.client.next(Push, lambda it: it.data.get("seq") == 3, timeout=30)


async def test_a_gateway_counts_points_as_the_rooms_say(split: Split) -> None:
    split.settings = {"limits": {"points": 1, "burst": 10}}
    async with split.of("g1") as (core, (one,)), person(core, one, "ada", "a") as ada:
        assert one.server.pipeline.elsewhere["auth.refresh"] == 10
        assert not isinstance(await ada.client.call("auth.refresh"), Error)
        refused = await ada.client.call("auth.refresh")
        assert (refused.code, refused.limit) == ("rate_limited", 1)


async def test_a_role_that_nobody_runs_ends_the_start_and_says_what_to_add(split: Split, tmp_path: Path) -> None:
    alone = {"server": {"roles": ["gateway"], "data": str(tmp_path)}}
    with pytest.raises(SetupError, match=r'nobody runs "im", "logic", "auth", "router"'):
        async with Server(settings=alone, environ={}):
            pass
    with pytest.raises(SetupError, match=r'run together so far. Add "auth", "router"'):
        async with Server(settings={"server": {"roles": ["im", "logic"]}}, environ={}):
            pass
    with pytest.raises(SetupError, match="no role 'gatway': did you mean 'gateway'"):
        async with Server(settings={"server": {"roles": ["gatway"]}}, environ={}):
            pass
    split.settings = {"server": {"role_patience": 0.2}}
    with pytest.raises(SetupError, match="start a node that has them"):
        async with split.gateway("g1", patience=0.1):
            pass
    assert ROOMS == ("im", "logic", "auth", "router")
