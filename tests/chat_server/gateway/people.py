"""A whole server in this process, the project's own clients on wires that lie in memory, and gates to hold answers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from attrs import evolve
from chat_common.codec.json import JsonCodec
from chat_common.protocol import client_events
from chat_common.protocol.client import ClientSession
from chat_common.protocol.closing import CloseCode
from chat_common.protocol.frames import Device
from chat_server.im.fanout import Fanout
from chat_server.server import Server
from chat_server.store.schema import conversation
from sqlalchemy import select

codec = JsonCodec()
BEAT = 0.4
STORED = Fanout.stored


class Frames:
    def pack(self, frames: Sequence[bytes]) -> list[bytes]:
        return list(frames)


FRAMES = Frames()


class Person:
    """A client whose frames are carried by hand. ``pushed``: (event, rev, seq) of each push, `lagged`, `beat`."""

    framing = FRAMES
    address = "127.0.0.1"

    def __init__(self, server: Server, name: str, user: str, token: str, *, whole: bool = True) -> None:
        self.server, self.user, self.token = server, user, token
        self.session = ClientSession(Device(name, "test"), token, whole=whole)
        self.pushed: list[tuple[str, int, int]] = []
        self.events: list[Any] = []
        self.connection: Any = None
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def connect(self) -> Person:
        self.connection = self.server.gateway.connect(self)
        self.session.connected(time.monotonic())
        self.task = asyncio.create_task(self._run(self.connection))
        return self

    async def _run(self, connection: Any) -> None:
        while self.connection is connection:
            self.session.poll(time.monotonic())
            for frame in self.session.take_frames(time.monotonic()):
                connection.received(codec.encode(frame))
            self.events += self.session.take_events()
            self.wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await self.wake.wait()

    # --- a wire ---

    def write(self, packed: list[bytes]) -> None:
        for frame in packed:
            data = msgspec.json.decode(frame)
            if data["op"] == "push":
                self.pushed.append((data["event"], data["data"].get("rev", 0), data["data"].get("seq", 0)))
            elif data["op"] == "lagged" or data.get("behind"):
                self.pushed.append((data["op"], 0, 0))
            for one in codec.server_frames(frame):
                self.session.receive(one, time.monotonic())
        self.wake.set()

    def close(self, code: int, reason: str) -> None:
        """A machine that stands still for some beats makes anybody silent: such a client comes back, as a real one."""
        self.lose()
        if code == CloseCode.SILENT:
            self.connect()

    def abort(self) -> None:
        self.lose()

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def lose(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.lost()
            self.session.lost(1006, time.monotonic())

    # --- what a test asks ---

    async def settled(self) -> None:
        await until(lambda: self.session.settled)

    def seqs(self, room: str) -> list[int]:
        return sorted(self.session.state.room(room).messages)

    def told(self, room: str) -> list[int]:
        """What the application was told of, in order."""
        found = [one.message for one in self.events if isinstance(one, client_events.MessageReceived)]
        return [message.seq for message in found if message.conversation == room]

    def pushed_seqs(self) -> list[int]:
        return [seq for event, _, seq in self.pushed if event == "message"]

    def forget_session(self) -> None:
        """The next hello resumes nothing."""
        self.session._session = None


class Gate:
    """Holds the answers of an object's coroutine method back: what was read is read, and comes later. ``fail``: the
    question fails instead, until the gate is open."""

    def __init__(
        self, owner: Any, name: str, which: Callable[..., bool] = lambda *asked: True, *, fail: Exception | None = None
    ) -> None:
        self.inside = 0
        self.open = asyncio.Event()
        real = getattr(owner, name)

        async def gated(*asked: Any, **named: Any) -> Any:
            if fail is not None and not self.open.is_set() and which(*asked):
                self.inside += 1
                raise fail
            answer = await real(*asked, **named)
            if not self.open.is_set() and which(*asked):
                self.inside += 1
                await self.open.wait()
            return answer

        setattr(owner, name, gated)

    async def caught(self, count: int = 1) -> None:
        await until(lambda: self.inside >= count)


async def until(happened: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.005)


class Site:
    """``people``: p0, p1, …, made as needed; ``drop``: asked for each delivery to the gateway, true loses it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.im = server.rooms.im
        self.fanout = server.rooms.fanout
        self.intake: Callable[[Sequence[Any]], Any] = partial(STORED, self.fanout)

    async def people(self, count: int) -> list[Person]:
        found = []
        for number in range(count):
            name = f"p{number}"
            user = await self.server.ensure_user(name)
            found.append(Person(self.server, name, user.user, await self.server.issue_token(user.user, name)))
        return found

    async def group(self, owner: Person, *members: Person) -> str:
        users = [person.user for person in members]
        made = await self.server.call("group.create", {"name": "g", "members": users}, user=owner.user)
        await self.fanned(made.conversation)
        return str(made.conversation)

    async def say(self, who: Person, room: str, text: str = "hi") -> None:
        await self.server.call("submit", {"conversation": room, "kind": "text", "body": {"text": text}}, user=who.user)

    async def change(self, who: Person, command: str, room: str, *users: Person) -> None:
        asked = {"conversation": room, "users": [person.user for person in users]}
        await self.server.call(command, asked, user=who.user)

    async def fanned(self, room: str) -> int:
        """Wait until fan-out has come to the head; returns it."""
        head = select(conversation.c.head_rev).where(conversation.c.conversation == room)
        async with asyncio.timeout(10):
            while True:
                rev = await self.server.database.read(lambda connection: connection.execute(head).scalar_one())
                roster = self.fanout.rosters.get(room)
                if roster is not None and roster.fanned >= rev:
                    return int(rev)
                await asyncio.sleep(0.005)

    async def is_hot(self, room: str) -> bool:
        hot = select(conversation.c.hot).where(conversation.c.conversation == room)
        return bool(await self.server.database.read(lambda connection: connection.execute(hot).scalar_one()))

    async def beats(self, count: int = 3) -> None:
        """Let this many checks pass."""
        passed = 0
        real = self.server.gateway.check.judge

        def judge(expected: Any) -> int:
            nonlocal passed
            told = real(expected)
            passed += 1
            return told

        self.server.gateway.check.judge = judge  # type: ignore[method-assign]
        await until(lambda: passed >= count)
        self.server.gateway.check.judge = real  # type: ignore[method-assign]

    async def agree(self, room: str, *people: Person) -> None:
        """After some beats everybody holds what a fresh client of the same user holds."""
        await self.fanned(room)
        await self.beats()
        for person in people:
            await person.settled()
            other = Person(self.server, "fresh", person.user, await self.server.issue_token(person.user, "fresh"))
            await other.connect().settled()
            assert person.seqs(room) == other.seqs(room), "a message is lost"
            other.lose()

    def as_after_a_restart(self) -> None:
        """Nobody has a session, and nothing is remembered of any conversation."""
        self.server.gateway.sessions.end_all(4100, "as after a restart")
        self.server.gateway.streams._streams.clear()

    def bare(self) -> asyncio.Event:
        """From now on records of fan-out wait for the event, and come as from a broker of another process: several at
        once, and nothing inline."""
        held: list[Any] = []
        go_on = asyncio.Event()
        real = self.intake

        async def stored(records: Sequence[Any]) -> None:
            held.extend(evolve(record, inline=None) for record in records)
            if go_on.is_set():
                batch, held[:] = list(held), []
                await real(batch)

        self.intake = stored
        return go_on


@contextlib.asynccontextmanager
async def site(folder: Path, *, hot_members: int = 7, drop: Any = None) -> AsyncIterator[Site]:
    """A server whose groups above ``hot_members`` are hot, and whose heart beats fast."""
    settings = {
        "server": {"data": str(folder)},
        "auth": {"dev": True},
        "gateway": {"heartbeat": BEAT, "grace": 0.1},
        "fanout": {"hot_members": hot_members},
        "groups": {"strangers": "allow"},
    }
    made: list[Site] = []

    async def stored(fanout: Fanout, records: Sequence[Any]) -> None:
        await (made[0].intake(records) if made else STORED(fanout, records))

    Fanout.stored = stored  # type: ignore[assignment,method-assign]
    try:
        async with Server(settings=settings, drop=drop) as server:
            made.append(Site(server))
            yield made[0]
    finally:
        Fanout.stored = STORED  # type: ignore[method-assign]
