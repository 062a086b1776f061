"""Presence: told to those who watch and may know when it is told, and to nobody else a moment longer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from chat_common.errors import Unavailable
from chat_common.records import Caller
from chat_server.gateway import WatchPresence

from tests.chat_server.gateway.fakes import House, MemoryWire, until
from tests.chat_server.gateway.people import Person, Site, site
from tests.chat_server.gateway.people import until as sooner_or_later


def note(user: str, online: bool) -> dict[str, Any]:
    return {"op": "note", "event": "presence", "data": {"user": user, "online": online}}


class Watching:
    """Ann, who watches, among fakes."""

    def __init__(self, house: House, wire: MemoryWire, session: str) -> None:
        self.house, self.wire, self.caller = house, wire, Caller("ann", "r", "d1", session)

    async def watch(self, *users: str) -> list[str]:
        return (await self.house.gateway.presence.watch(self.caller, WatchPresence(users=list(users)))).online

    async def nothing_more(self) -> None:
        """What is being asked is answered, and nothing came of it."""
        await until(lambda: not self.house.gateway.presence._asking)
        self.wire.say(op="ping")
        assert (await self.wire.get())["op"] == "pong"


async def ann(house: House, *friends: str) -> Watching:
    house.im.friends["ann"] = set(friends)
    wire, welcome = await house.enter("ann")
    house.gateway.presence._patience = 0.0
    return Watching(house, wire, welcome["session"])


async def test_it_is_told_to_those_who_watch_and_may_know() -> None:
    async with House() as house:
        bob, _ = await house.enter("bob")
        await house.enter("eve")
        here = await ann(house, "bob", "cat")
        assert await here.watch("bob", "cat", "eve") == ["bob"]
        await house.enter("cat")
        assert await here.wire.get() == note("cat", True)
        bob.link.lost()
        assert await here.wire.get() == note("bob", False)
        assert await here.watch() == []
        await house.enter("bob")
        await here.nothing_more()


async def test_who_may_not_know_any_more_is_told_nothing_more_even_if_nobody_said_so() -> None:
    async with House() as house:
        bob, _ = await house.enter("bob")
        here = await ann(house, "bob", "cat")
        assert await here.watch("bob", "cat") == ["bob"]
        house.im.friends["ann"] = set()
        await house.enter("cat")
        await here.nothing_more()
        bob.link.lost()
        assert await here.wire.get() == note("bob", False), "a stranger is offline"
        await house.enter("bob")
        await here.nothing_more()
        assert not house.gateway.presence._watchers


async def test_who_parts_is_offline_at_once_and_whoever_was_offline_stays_so_without_a_word() -> None:
    async with House() as house:
        await house.enter("bob")
        here = await ann(house, "bob", "cat", "dan")
        await house.enter("dan")
        assert await here.watch("bob", "cat", "dan") == ["bob", "dan"]
        house.im.friends["ann"] = {"dan"}
        house.gateway.presence.parted(["bob", "cat"])
        assert await here.wire.get() == note("bob", False)
        await here.nothing_more()
        house.im.friends["ann"] = set()
        house.gateway.presence.parted(["ann"])
        assert await here.wire.get() == note("dan", False), "what ann watches is asked about too"
        await here.nothing_more()


async def test_what_ends_while_a_watch_is_being_answered_is_not_in_the_answer() -> None:
    async with House() as house:
        here = await ann(house, "bob", "cat")
        await house.enter("bob")
        times = iter(range(3))

        async def meanwhile() -> None:
            if next(times) == 0:  # The rights were read, and are old before they are used.
                house.im.friends["ann"] = {"cat"}
                house.gateway.presence.parted(["bob"])
                await house.enter("cat")

        house.im.before_acquainted = meanwhile
        assert await here.watch("bob", "cat") == ["cat"]
        house.im.before_acquainted = None
        await here.nothing_more()
        assert set(house.gateway.presence._watchers) == {"cat"}


async def test_a_watch_that_is_always_outdated_ends_and_is_put_right_by_a_note() -> None:
    async with House() as house:
        here = await ann(house, "bob")
        await house.enter("bob")
        asked = []

        async def meanwhile() -> None:
            asked.append(1)
            house.im.friends["ann"] = set()
            if len(asked) <= 3:
                house.im.friends["ann"] = {"bob"} if len(asked) < 3 else set()
                house.gateway.presence.parted(["bob"])

        house.im.before_acquainted = meanwhile
        assert await here.watch("bob") == ["bob"]
        assert await here.wire.get() == note("bob", False)
        assert len(asked) == 4


async def test_a_question_that_fails_is_asked_again_by_the_next_poll() -> None:
    async with House() as house:
        here = await ann(house, "bob")
        assert await here.watch("bob") == []

        async def down() -> None:
            raise Unavailable("the database is away")

        house.im.before_acquainted = down
        await house.enter("bob")
        await here.nothing_more()
        house.im.before_acquainted = None
        await house.gateway.presence.poll()
        assert await here.wire.get() == note("bob", True)


async def test_one_who_watches_later_hides_no_change_from_those_who_watch_already() -> None:
    async with House() as house:
        here = await ann(house, "bob")
        assert await here.watch("bob") == []
        _, welcome = await house.enter("bob")
        assert await here.wire.get() == note("bob", True)
        # Another node's change, which this node has not polled yet, is read by the second watch.
        house.directory.held.clear()
        session = house.gateway.sessions.index.get(welcome["session"])
        assert session is not None
        house.gateway.sessions.forget(session)
        house.im.friends["cat"] = {"bob"}
        _, hello = await house.enter("cat")
        caller = Caller("cat", "r", "d1", hello["session"])
        assert (await house.gateway.presence.watch(caller, WatchPresence(users=["bob"]))).online == []
        assert await here.wire.get() == note("bob", False)


# --- the whole server -------------------------------------------------------------------------------------------------


class Watcher(Person):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.notes: list[tuple[str, bool]] = []

    def write(self, packed: list[bytes]) -> None:
        for frame in packed:
            data = msgspec.json.decode(frame)
            if data["op"] == "note" and data["event"] == "presence":
                self.notes.append((data["data"]["user"], data["data"]["online"]))
        super().write(packed)

    async def watch(self, *others: Person) -> list[str]:
        session = self.server.gateway.sessions.index.by_user[self.user][0]
        request = WatchPresence(users=[other.user for other in others])
        watch = self.server.gateway.presence.watch
        return (await watch(Caller(self.user, "r", session.device, session.id), request)).online


Ending = Callable[[Site, Person, Person, str], Awaitable[Any]]


async def call(who: Person, command: str, **params: Any) -> Any:
    return await who.server.call(command, params, user=who.user)


ENDINGS: dict[str, Ending] = {
    "the other blocks": lambda here, me, other, room: call(other, "contact.block", user=me.user, on=True),
    "one blocks oneself": lambda here, me, other, room: call(me, "contact.block", user=other.user, on=True),
    "the other leaves": lambda here, me, other, room: call(other, "group.leave", conversation=room),
    "one leaves oneself": lambda here, me, other, room: call(me, "group.leave", conversation=room),
    "the other is put out": lambda here, me, other, room: here.change(here.owner, "group.kick", room, other),  # type: ignore[attr-defined]
    "the group is dissolved": lambda here, me, other, room: call(here.owner, "group.dissolve", conversation=room),  # type: ignore[attr-defined]
    "the contact is removed": lambda here, me, other, room: call(other, "contact.remove", user=me.user),
}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


@pytest.mark.parametrize("size", [3, 9], ids=["normal", "hot"])
@pytest.mark.parametrize("ending", ENDINGS)
async def test_it_ends_with_what_it_was_shown_for(here: Site, ending: str, size: int) -> None:
    owner, other, one, *rest = await here.people(size)
    here.owner = owner  # type: ignore[attr-defined]
    me = Watcher(here.server, "p2", one.user, one.token)
    if ending == "the contact is removed":
        room = ""
        await call(me, "contact.request", user=other.user)
        await call(other, "contact.accept", user=me.user)
    else:
        room = await here.group(owner, other, me, *rest)
        assert await here.is_hot(room) is (size == 9)
    await me.connect().settled()
    await other.connect().settled()
    assert await me.watch(other) == [other.user]
    here.server.gateway.presence._patience = 0.0
    await ENDINGS[ending](here, me, other, room)
    await sooner_or_later(lambda: me.notes == [(other.user, False)])
    # From here on nothing: the other one goes, comes back, and the directory is polled.
    other.lose()
    await other.connect().settled()
    await here.server.gateway.presence.poll()
    assert me.notes == [(other.user, False)]
    assert not here.server.gateway.presence._watchers
    me.lose()
    other.lose()
