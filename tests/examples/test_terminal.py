"""Two terminals chat, and go on by themselves after the server was restarted."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.e2e.server import Server
from tests.support.program import Program

SCRIPT = str(Path(__file__).parents[2] / "examples" / "terminal" / "terminal.py")


async def test_two_people_chat_and_a_restart_changes_nothing(server: Server) -> None:
    async with Program(SCRIPT, server.url, "--name", "ann") as ann, Program(SCRIPT, server.url, "--name", "bob") as bob:
        await ann.says("connected")
        await bob.says("connected")
        await ann.type("nobody hears this")
        await ann.says("no conversation is open")
        await ann.type("/chat bob")
        await ann.says("* in bob")
        await ann.type("hello bob")
        await ann.says("[bob] ann: hello bob")
        await bob.says("[ann] ann: hello bob")
        await bob.type("/list")
        await bob.says("1. ann")
        await bob.type("/open 1")
        await bob.says("* in ann")
        await bob.type("hello ann")
        await ann.says("bob: hello ann")

        await server.stop(signal.SIGKILL)
        await ann.says("connection lost")
        await ann.type("said while the server is away")
        await server.start()
        await ann.says("connected")
        await bob.says("ann: said while the server is away")
        await bob.type("and we are back")
        await ann.says("bob: and we are back")

        await ann.type("/history 10")
        for said in ("hello bob", "hello ann", "said while the server is away", "and we are back"):
            await ann.says(said)
        await ann.type("/quit")
        assert await ann.ended() == 0


async def test_groups_and_what_cannot_be_done(server: Server) -> None:
    async with Program(SCRIPT, server.url, "--name", "ann") as ann, Program(SCRIPT, server.url, "--name", "bob") as bob:
        await ann.says("connected")
        await bob.says("connected")
        await ann.type("/chat nobody")
        await ann.says("there is no user 'nobody'")
        await ann.type("/dance")
        await ann.says("there is no /dance")
        await ann.type("/group friends bob")
        await ann.says("* in friends")
        await ann.type("hello all")
        await bob.says("[friends] ann: hello all")
        await bob.type("/list")
        await bob.says("1. friends (")
        await bob.type("/open 1")
        await bob.says("ann: hello all")


async def test_what_was_unread_is_shown_at_the_start(server: Server) -> None:
    async with Program(SCRIPT, server.url, "--name", "bob") as bob:
        await bob.says("connected")
    async with Program(SCRIPT, server.url, "--name", "ann") as ann:
        await ann.says("connected")
        await ann.type("/chat bob")
        await ann.says("* in bob")
        await ann.type("are you there?")
        await ann.says("ann: are you there?")
        async with Program(SCRIPT, server.url, "--name", "bob") as bob:
            await bob.says("ann: are you there?")
