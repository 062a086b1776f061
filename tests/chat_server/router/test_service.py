from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pytest
from chat_common.clock import ManualClock
from chat_common.errors import Unavailable
from chat_common.memory.directory import MemoryDirectory
from chat_common.ports.directory import Route
from chat_common.records import Push
from chat_server.router.service import Router
from chat_server.services import CloseSessions, Delivery, EphemeralNote, Movements, SessionPush

from tests.chat_server.router.gateways import FakeGateway, to


class Directory(MemoryDirectory):
    """``away``: it does not answer."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.away = False
        self.asked = 0

    async def routes(self, users: Iterable[str]) -> Mapping[str, Sequence[Route]]:
        self.asked += 1
        if self.away:
            raise Unavailable("Redis is away")
        return await super().routes(users)


class Site:
    """Three nodes; this one is "a". Ann is at a, Bob at b, Cat at b and c."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.router = Router("a", self.directory)
        self.a, self.b, self.c = FakeGateway(), FakeGateway(), FakeGateway()
        self.router.attach(self.a)

    async def open(self) -> Site:
        self.router.meet({"b": self.b, "c": self.c})
        for user, node in (("ann", "a"), ("bob", "b"), ("cat", "b"), ("cat", "c")):
            await self.directory.register(Route(user, "d", f"{user}{node}", node, "boot"), lease=60)
        return self


def users(gateway: FakeGateway) -> list[list[str] | None]:
    return [None if it.users is None else sorted(it.users) for it in gateway.delivered]


async def test_a_node_gets_what_its_users_are_to_get() -> None:
    site = await Site().open()
    await site.router.deliver([to("ann", "bob", "cat"), to("bob", rev=2), to(rev=3)])
    assert users(site.b) == [["bob", "cat"], ["bob"], None]
    assert users(site.c) == [["cat"], None], "and every node gets hot conversations"
    assert users(site.a) == [["ann", "bob", "cat"], ["bob"], None], "its own gateway knows who is here"
    assert len(site.b.calls) == 1


async def test_who_turns_hot_is_told_each_node_for_its_own_users() -> None:
    site = await Site().open()
    members = {name: [[1]] for name in ("ann", "bob", "cat", "dan")}
    await site.router.deliver([Delivery([], None, "c", 2, 1, members=members, hot_at=5)])
    assert [sorted(it.members or ()) for it in site.b.delivered] == [["bob", "cat"]]
    assert [sorted(it.members or ()) for it in site.c.delivered] == [["cat"]]


async def test_alone_nobody_is_asked_where_users_are() -> None:
    site = Site()
    await site.router.deliver([to("ann", "bob")])
    await site.router.note(EphemeralNote(["ann"], "typing", {}))
    assert await site.router.elsewhere(["ann"]) == []
    assert site.directory.asked == 0
    assert len(site.a.delivered) == len(site.a.notes) == 1


async def test_while_the_directory_is_away_everything_goes_everywhere() -> None:
    site = await Site().open()
    site.directory.away = True
    await site.router.deliver([to("ann", "bob")])
    await site.router.deliver([to("bob", rev=2)])
    for gateway in (site.a, site.b, site.c):
        assert users(gateway) == [["ann", "bob"], ["bob"]]
    assert site.directory.asked == 1, "and it is not asked for each message"


async def test_a_directory_that_has_lost_its_memory_is_not_believed() -> None:
    site = await Site().open()
    site.router.forgets(True)
    await site.router.deliver([to("bob")])
    site.router.forgets(False)
    await site.router.deliver([to("bob", rev=2)])
    assert users(site.c) == [["bob"]]
    assert users(site.b) == [["bob"], ["bob"]]


async def test_a_node_that_is_away_harms_nobody_else() -> None:
    site = await Site().open()
    site.b.away = True
    await site.router.deliver([to("bob", "cat")])
    assert users(site.c) == [["cat"]]
    assert await site.router.close(CloseSessions(4409, "kicked", "never", user="cat")) == 2
    await site.router.moved(Movements(["ann"], []))
    assert [it.came for it in site.c.movements] == [["ann"]]
    site.router.meet({})


async def test_a_note_goes_where_its_users_are() -> None:
    site = await Site().open()
    await site.router.note(EphemeralNote(["ann", "cat"], "typing", {"user": "bob"}))
    assert [list(note.users) for note in site.a.notes] == [["ann", "cat"]]
    assert [list(note.users) for note in site.b.notes] == [["cat"]]
    assert [list(note.users) for note in site.c.notes] == [["cat"]]


async def test_one_session_is_told_on_its_node() -> None:
    site = await Site().open()
    site.a.here, site.b.here = {"s1"}, {"s2"}
    push = Push("login", {})
    assert await site.router.tell(SessionPush("s1", "a", push))
    assert await site.router.tell(SessionPush("s2", "b", push))
    assert not await site.router.tell(SessionPush("s2", "c", push))
    assert await site.router.tell(SessionPush("s2", "unknown", push)), "rooms without sockets name themselves"
    assert not await site.router.tell(SessionPush("nobody's", "unknown", push))
    site.b.away = True
    assert not await site.router.tell(SessionPush("s2", "b", push))


async def test_online_elsewhere_is_who_has_a_live_socket_there() -> None:
    site = await Site().open()
    site.b.here, site.c.here = {"bob"}, {"cat"}
    assert await site.router.elsewhere(["ann", "bob", "cat", "dan"]) == ["bob", "cat"]
    site.c.here = set()
    assert await site.router.elsewhere(["cat"]) == [], "a session that only waits to be resumed is not online"
    site.b.away = True
    assert await site.router.elsewhere(["bob"]) == ["bob"], "what cannot be asked is believed"


@pytest.mark.parametrize("others", [{}, {"c": FakeGateway()}])
async def test_a_node_that_has_gone_gets_nothing(others: dict[str, FakeGateway]) -> None:
    site = await Site().open()
    site.router.meet(others)
    await site.router.deliver([to("bob", "cat")])
    assert site.b.delivered == []
    assert set(site.router.peers) == set(others)
