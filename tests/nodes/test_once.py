"""Work that is done once, however many servers there are: one push for one owed message. Who dies is followed."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from attrs import define
from chat_common.memory.push import MemoryPush
from chat_common.ports.push import Address, Notification, Outcome
from chat_server.router.push import OfflinePush
from chat_server.server import Server
from chat_server.store.account_schema import login, push_address
from chat_server.store.schema import push_due
from sqlalchemy import func, insert, select

from tests.nodes.cluster import Cluster, Node
from tests.nodes.pusher import Phones
from tests.support.program import Program
from tests.support.serving import Settings
from tests.support.waiting import until

AWAY: Settings = {"fanout": {"push_delay": 0.0}, "gateway": {"lease": 0.2}}
"""Who does not acknowledge is away at once."""


class Slow(MemoryPush):
    """Takes its time, as platforms do, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.begun = 0

    async def send(self, notification: Notification, addresses: Sequence[Address]) -> Sequence[Outcome]:
        self.begun += 1
        await self.go_on.wait()
        return await super().send(notification, addresses)


async def subscribed(server: Server) -> tuple[str, str, str]:
    """ada, bob with one device, and their conversation."""
    ada, bob = [(await server.ensure_user(name)).user for name in ("ada", "bob")]
    room = (await server.call("group.create", {"name": "Tea", "members": [bob]}, user=ada)).conversation
    family = {"user": bob, "login": "login of d1"}
    for row in (
        insert(login).values(family | {"device": "d1", "expires_at": 10**15}),
        insert(push_address).values(family | {"provider": "phones", "address": "{}"}),
    ):
        await server.database.change(lambda connection: connection.execute(row))  # noqa: B023
    return ada, bob, str(room)


async def say(node: Node, user: str, room: str, text: str) -> int:
    said = {"conversation": room, "kind": "text", "body": {"text": text}}
    return int((await node.server.call("submit", said, user=user)).seq)


async def nothing_owed(server: Server) -> bool:
    rows = select(func.count()).select_from(push_due)
    return await server.database.read(lambda connection: connection.execute(rows).scalar_one()) == 0


async def test_two_nodes_push_what_is_owed_once(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: dict[int, int] = {}
    start = OfflinePush._start

    async def counted(self: OfflinePush) -> object:
        started = await start(self)
        looks[id(self)] = looks.get(id(self), 0) + 1
        return started

    monkeypatch.setattr(OfflinePush, "_start", counted)
    cluster.settings = AWAY
    slow = Slow()
    plugin = Phones(slow)
    async with cluster.node("first", plugins=[plugin]), cluster.node("second", plugins=[plugin]) as second:
        ada, _, room = await subscribed(second.server)
        await say(second, ada, room, "one")
        await until(lambda: slow.begun > 0, what="one of them has begun to push")
        looks.clear()

        def another_has_looked() -> bool:
            return (len(looks) == 2 and min(looks.values()) >= 2) or slow.begun > 1

        await until(another_has_looked, what="the other one has looked, while nothing was settled yet")
        slow.go_on.set()
        await until(lambda: nothing_owed(second.server), what="it is settled")
        assert [(device, note.seq) for device, note in slow.sent] == [("d1", 1)]


@define
class Pair:
    """Two servers as processes on one database; the first holds the lease, and hangs in the push of seq 2."""

    first: Program
    second: Program
    settings: Settings

    def pushes_of_second(self) -> list[str]:
        return [line for line in self.second.lines if line.startswith("push")]


@asynccontextmanager
async def pair(cluster: Cluster, *, first: float, second: float) -> AsyncIterator[Pair]:
    """``first``, ``second``: seconds that their leases last."""
    settings: Settings = {**cluster.store.settings, **AWAY, "limits": {"points": 0}}
    async with Server(settings=settings, environ={}, plugins=[Phones(MemoryPush())]) as server:
        ada, _, room = await subscribed(server)

    def program(hang_at: int, lease: float) -> Program:
        plan = {"settings": settings, "lease": lease, "hang_at": hang_at, "room": room, "user": ada}
        return Program("-m", "tests.nodes.pusher", json.dumps(plan))

    async with program(2, first) as a:
        await a.says("ready")
        async with program(0, second) as b:
            await b.says("ready")
            await b.type("one")
            await a.says("pushed d1 1")
            await b.type("two")
            await a.says("pushing d1 2")
            pair = Pair(a, b, settings)
            assert pair.pushes_of_second() == []
            yield pair


async def test_a_server_killed_in_a_push_is_followed_and_nothing_is_lost(cluster: Cluster) -> None:
    async with pair(cluster, first=8.0, second=8.0) as it:
        await it.first.stop(signal.SIGKILL)
        await it.second.says("pushed d1 2")
        await it.second.type("three")
        await it.second.says("pushed d1 3")
        assert it.pushes_of_second() == ["pushing d1 2", "pushed d1 2", "pushing d1 3", "pushed d1 3"]


async def test_a_server_that_stops_finishes_its_push_and_hands_over_at_once(cluster: Cluster) -> None:
    async with pair(cluster, first=3_600.0, second=1.0) as it:
        await it.first.type("")
        await it.first.says("pushed d1 2")
        assert await it.first.ended() == 0
        await it.second.type("three")
        await it.second.says("pushed d1 3")  # an hour before the lease of the first one would have ended
        assert it.pushes_of_second() == ["pushing d1 3", "pushed d1 3"]
