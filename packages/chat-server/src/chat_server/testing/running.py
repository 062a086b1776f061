"""The server of a test, and what a test does with it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import random
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field
from chat_common import wire
from chat_common.client import Backoff, ChatClient
from chat_common.clock import ManualClock
from chat_common.plugins import Plugins
from chat_common.protocol.frames import Device

from chat_server.server import Server
from chat_server.testing.faults import Faults
from chat_server.testing.store import copy_of

PATIENCE = 5.0
"""Seconds of real time for which a test waits for something to come true."""
STEPS_FOR = 3600.0
"""Seconds of the held clock up to which `RunningChat.advance` goes in steps, so that connections stay alive."""


@functools.cache
def _installed() -> Plugins:
    """The installed plugins, put together once for all tests of a process."""
    return Plugins.load()


@define(eq=False)
class RunningChat:
    """``server``: the open `Server`. ``clock`` stands still until `advance`. ``faults``: see `Faults`."""

    server: Server
    clock: ManualClock
    faults: Faults
    _stack: contextlib.AsyncExitStack
    _clients: list[ChatClient] = field(factory=list)
    _numbers: Any = field(factory=lambda: itertools.count(1))

    @property
    def app(self) -> Any:
        """The ASGI application, see `Server.app`."""
        return self.server.app

    # --- factories ---

    async def user(self, name: str | None = None) -> wire.User:
        """A user; the same one again for the same name, another one without a name."""
        name = name or f"User {next(self._numbers)}"
        return await self.server.ensure_user(name, name)

    async def client(self, name: str | None = None, **options: Any) -> ChatClient:
        """A client of the user of this name, connected and synced; another device each time. Closed with the test."""
        user = await self.user(name)
        device = Device(f"device-{next(self._numbers)}", "test")
        token = await self.server.issue_token(user.user, device.id)
        made: list[ChatClient] = []

        async def opener(_url: str) -> Any:
            return self.faults.opened(made[0], self.server.gateway)

        backoff = Backoff(first=0.01, longest=0.05, random=random.Random(0))
        client = ChatClient(
            "http://chat.test", token, device=device, opener=opener, clock=self.clock, backoff=backoff, **options
        )
        made.append(client)
        self._clients.append(client)
        await self._stack.enter_async_context(client)
        async with asyncio.timeout(PATIENCE):
            await client.settled()
        return client

    async def direct(self, one: ChatClient, other: ChatClient) -> str:
        """The id of the direct chat of two clients' users."""
        return (await one.direct(user_of(other).user)).conversation

    async def group(self, owner: ChatClient, *members: ChatClient, name: str = "group") -> str:
        """The id of a new group. Strangers may be put into groups, unless the settings say otherwise."""
        people = [user_of(member).user for member in members]
        return (await owner.group(name, people)).conversation

    async def call(self, command: Any, params: Any = None, *, user: str | None = None, ref: str | None = None) -> Any:
        """See `Server.call`."""
        return await self.server.call(command, params, user=user, ref=ref)

    # --- time ---

    async def advance(self, seconds: float) -> None:
        """Move the clock, and let server and clients do what is due by then. Up to an hour connections stay alive, as
        they would; a longer time is one jump, after which clients connect again."""
        heartbeat = self.server.settings.section("gateway").heartbeat
        step = heartbeat / 4 if seconds <= STEPS_FOR else seconds
        left = seconds
        while left > 0:
            self.clock.advance(min(step, left))
            left -= step
            self.faults.arrived(self.clock.monotonic())
            for client in self._clients:
                client.look_again()
            await self.rest()
            self.server.gateway.sessions.wheel.turn()
            await self.rest()

    async def rest(self) -> None:
        """Let what has begun come to its end, as far as it waits for nothing but this process."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def until(self, condition: Callable[[], Any], what: str = "") -> None:
        """Wait until the condition is true, at most 5 seconds of real time; `AssertionError` names ``what``."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():  # noqa: ASYNC110 - a test may ask for anything
                    await asyncio.sleep(0.001)
        except TimeoutError:
            raise AssertionError(f"not within {PATIENCE:g} s: {what or condition}") from None

    # --- a port ---

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Serve on a free port of this machine; the address."""
        import socket

        import uvicorn

        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as bound:
            web = uvicorn.Server(uvicorn.Config(self.app, lifespan="off", log_config=None))
            running = asyncio.create_task(web._serve([bound]))
            try:
                await self.until(lambda: web.started or running.done(), "the server accepts connections")
                yield f"http://127.0.0.1:{bound.getsockname()[1]}"
            finally:
                web.should_exit = web.force_exit = True
                await running


def user_of(client: ChatClient) -> wire.User:
    """The user of a connected client."""
    welcome = client.session.welcome
    assert welcome is not None
    assert isinstance(welcome.user, wire.User)
    return welcome.user


@contextlib.asynccontextmanager
async def running(options: Mapping[str, Any], made: Path) -> AsyncIterator[RunningChat]:
    """A server over a copy of the template database, made with these options; see the fixture ``chat``."""
    given = dict(options)
    clock = given.pop("clock", None) or ManualClock()
    with copy_of(made) as data:
        generous = {"limits": {"points": 0, "guest_points": 0}, "groups": {"strangers": "allow"}}
        settings = {**generous, **given.pop("settings", {})}
        settings["server"] = {**settings.get("server", {}), "data": str(data)}
        faults = Faults(clock)
        plugins = given.pop("plugins", None) or _installed()
        server = Server(settings=settings, clock=clock, drop=faults.loses, plugins=plugins, **given)
        async with server, contextlib.AsyncExitStack() as stack:
            yield RunningChat(server, clock, faults, stack)
