"""Interleavings that once lost a message, doubled one or showed one to somebody who had been put out, one test each:
the whole server, and the project's own clients. The model test walks through all of them and more; these have names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from chat_common.errors import Unavailable
from chat_common.protocol import client_jobs
from chat_server.services import Delivery

from tests.chat_server.gateway.people import Gate, Person, Site, site, until


class Losing:
    """Deliveries that are lost on their way to the node while ``losing``."""

    losing = False

    def __call__(self, delivery: Delivery) -> bool:
        return self.losing and delivery.conversation is not None


@pytest.fixture
def lose() -> Losing:
    return Losing()


@pytest.fixture
async def here(tmp_path: Path, lose: Losing) -> AsyncIterator[Site]:
    async with site(tmp_path, drop=lose) as made:
        yield made


async def hot_room(here: Site, count: int = 9) -> tuple[str, list[Person]]:
    people = await here.people(count)
    room = await here.group(people[0], *people[1:])
    assert await here.is_hot(room)
    return room, people


def outside(person: Person, room: str) -> list[int]:
    """The messages that were pushed to a person whose spans do not hold them."""
    inbox = person.session.state.room(room).inbox
    assert inbox is not None
    return [
        seq
        for seq in person.pushed_seqs()
        if not any(span[0] <= seq and (len(span) == 1 or seq <= span[1]) for span in inbox.spans)
    ]


async def test_a1_a_hello_while_a_room_is_heard_of_for_the_first_time(here: Site) -> None:
    room, (ann, bob, *_) = await hot_room(here)
    for _ in range(5):
        await here.say(ann, room)
    await here.fanned(room)
    await bob.connect().settled()
    bob.lose()
    here.as_after_a_restart()
    bob.forget_session()
    present = Gate(here.im, "present")
    await ann.connect().settled()
    await present.caught()
    arrival = Gate(here.im, "arrival", lambda user: user == bob.user)
    bob.connect()
    await arrival.caught()
    await here.say(ann, room, "the one that was lost")
    await here.fanned(room)
    arrival.open.set()
    await until(lambda: bob.session.phase == "live")
    present.open.set()
    await here.agree(room, ann, bob)
    await here.say(ann, room)
    await here.agree(room, ann, bob)


async def test_a1c_let_in_while_the_node_asks_who_is_in_it(here: Site) -> None:
    ann, bob, *others = await here.people(10)
    room = await here.group(ann, *others)
    await here.say(ann, room)
    await here.fanned(room)
    await bob.connect().settled()
    here.server.gateway.streams._streams.clear()
    present = Gate(here.im, "present")
    await here.change(ann, "group.invite", room, bob)
    await present.caught()
    await bob.settled()
    for _ in range(3):
        await here.say(ann, room, "welcome")
    await here.fanned(room)
    present.open.set()
    await here.agree(room, bob)
    bob.pushed.clear()
    await here.say(ann, room, "and now")
    await here.agree(room, bob)
    assert len(bob.pushed_seqs()) == 1


async def test_a2_a_hello_between_turning_hot_and_the_first_hot_delivery(here: Site) -> None:
    ann, bob, cem, *others = await here.people(9)
    room = await here.group(ann, bob, cem, *others[:3])
    await ann.connect().settled()
    turned = Gate(here.fanout, "_turn_hot")
    await here.change(ann, "group.invite", room, *others[3:])
    await turned.caught()
    assert await here.is_hot(room)
    await bob.connect().settled()
    turned.open.set()
    for _ in range(3):
        await here.say(cem, room)
    await here.agree(room, ann, bob)
    ann.pushed.clear()
    await here.say(cem, room)
    await here.agree(room, ann, bob)
    assert len(ann.pushed_seqs()) == 1, "pushed, not found by a sync"


async def test_a3_put_out_while_the_hello_is_under_way(here: Site) -> None:
    room, (ann, bob, *_) = await hot_room(here, 10)
    await ann.connect().settled()
    await here.say(ann, room)
    await here.fanned(room)
    arrival = Gate(here.im, "arrival", lambda user: user == bob.user)
    bob.connect()
    await arrival.caught()
    await here.change(ann, "group.kick", room, bob)
    await here.fanned(room)
    arrival.open.set()
    await bob.settled()
    bob.pushed.clear()
    for _ in range(3):
        await here.say(ann, room, "secret")
    await here.fanned(room)
    await here.beats()
    assert bob.pushed_seqs() == []


@pytest.mark.parametrize("missed", [2, 30])
async def test_a4_a11_a_gap_that_cannot_be_read_or_is_too_wide(here: Site, lose: Losing, missed: int) -> None:
    room, (ann, bob, *_) = await hot_room(here)
    await bob.connect().settled()
    here.server.gateway.streams._settings = type(here.server.gateway.streams._settings)(gap=20)
    gap = Gate(here.im, "gap", fail=Unavailable("the database is away"))
    lose.losing = True
    for _ in range(missed):
        await here.say(ann, room)
    await here.fanned(room)
    lose.losing = False
    if missed < 20:
        await gap.caught()
    gap.open.set()
    await here.agree(room, bob)
    bob.pushed.clear()
    await here.say(ann, room)
    await here.agree(room, bob)
    assert len(bob.pushed_seqs()) == 1


AWAY = [Unavailable("the database is away"), RuntimeError("a defect of a backend")]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
async def test_a5_a12_who_is_in_it_cannot_be_asked_for_a_moment(here: Site, error: Exception) -> None:
    room, (ann, bob, *_) = await hot_room(here)
    await bob.connect().settled()
    here.server.gateway.streams._streams.clear()
    present = Gate(here.im, "present", fail=error)
    for _ in range(2):
        await here.say(ann, room)
    await here.fanned(room)
    await present.caught()
    present.open.set()
    await here.agree(room, bob)


async def test_a6_one_call_brings_a_message_to_some_and_its_stamp_to_others(here: Site) -> None:
    """eve has joined after message 1; that it is changed is told her by its stamp alone, in the same call."""
    ann, bob, eve, *_ = await here.people(4)
    room = await here.group(ann, bob)
    await here.say(ann, room)
    await here.change(ann, "group.invite", room, eve)
    await here.fanned(room)
    await bob.connect().settled()
    await eve.connect().settled()
    await here.server.call("message.react", {"conversation": room, "seq": 1, "emoji": "👍", "on": True}, user=bob.user)
    head = await here.fanned(room)
    await until(lambda: (bob.pushed and bob.pushed[-1][1]) == (eve.pushed and eve.pushed[-1][1]) == head)
    assert bob.pushed[-1] == ("message", head, 1)
    assert eve.pushed[-1] == ("members", head, 0)
    await here.beats()
    assert ("beat", 0, 0) not in eve.pushed + bob.pushed, "nobody is behind"


async def test_a7_all_of_turning_hot_is_lost_on_its_way(here: Site, lose: Losing) -> None:
    ann, bob, cem, *others = await here.people(9)
    room = await here.group(ann, bob, cem, *others[:3])
    await bob.connect().settled()
    lose.losing = True
    await here.change(ann, "group.invite", room, *others[3:])
    await here.fanned(room)
    await here.say(ann, room)
    await here.fanned(room)
    lose.losing = False
    assert await here.is_hot(room)
    await here.agree(room, bob)
    bob.pushed.clear()
    await here.say(ann, room)
    await here.agree(room, bob)
    assert len(bob.pushed_seqs()) == 1


async def test_a8_put_out_in_a_gap(here: Site, lose: Losing) -> None:
    room, (ann, bob, cem, *_) = await hot_room(here, 10)
    await bob.connect().settled()
    await cem.connect().settled()
    lose.losing = True
    await here.change(ann, "group.kick", room, bob)
    await here.fanned(room)
    lose.losing = False
    gap = Gate(here.im, "gap", fail=Unavailable("the database is away"))
    await here.say(ann, room, "secret")
    await gap.caught()
    gap.open.set()
    await here.say(ann, room, "secret")
    await here.agree(room, cem)
    await bob.settled()
    assert outside(bob, room) == []


@pytest.mark.parametrize("lost", [False, True])
async def test_a9_put_out_and_let_in_within_what_is_read_from_the_log(here: Site, lose: Losing, lost: bool) -> None:
    """Records that come bare, several at once; or a gap of the node over all of it."""
    room, (ann, bob, *_) = await hot_room(here, 10)
    await ann.connect().settled()
    await bob.connect().settled()
    await here.say(ann, room)
    await here.fanned(room)
    go_on = asyncio.Event() if lost else here.bare()
    lose.losing = lost
    await here.change(ann, "group.kick", room, bob)
    await here.say(ann, room, "secret: bob is out")
    await here.change(ann, "group.invite", room, bob)
    if lost:
        await here.fanned(room)
    lose.losing = False
    go_on.set()
    await here.say(ann, room, "bob is in again")
    await here.agree(room, ann, bob)
    assert outside(bob, room) == []


async def test_a10_a_room_cools_while_a_hello_is_under_way(here: Site) -> None:
    room, (ann, bob, *others) = await hot_room(here)
    await ann.connect().settled()
    await here.say(ann, room)
    await here.fanned(room)
    arrival = Gate(here.im, "arrival", lambda user: user == bob.user)
    bob.connect()
    await arrival.caught()
    await here.change(ann, "group.kick", room, *others[2:])
    await here.fanned(room)
    assert not await here.is_hot(room)
    arrival.open.set()
    await bob.settled()
    await here.say(ann, room)
    await here.agree(room, ann, bob)
    revs = [rev for event, rev, _ in bob.pushed if event in ("message", "members", "conversation")]
    assert revs == sorted(set(revs)), "strictly growing"


async def test_a15_a_room_that_was_brought_ahead_from_the_log_cools(here: Site, lose: Losing) -> None:
    room, (ann, bob, *others) = await hot_room(here)
    await bob.connect().settled()
    late = Gate(here.fanout, "_cool")
    await here.change(ann, "group.kick", room, *others[2:])
    await late.caught()
    await here.beats(2)  # The check has read it from the log.
    late.open.set()
    await here.fanned(room)
    await here.say(ann, room)
    await here.agree(room, bob)
    revs = [rev for event, rev, _ in bob.pushed if event in ("message", "members", "conversation")]
    assert revs == sorted(set(revs)), "strictly growing"


async def test_a13_a_write_that_raises_ends_that_one_connection(here: Site) -> None:
    room, (ann, bob, *_) = await hot_room(here)
    await ann.connect().settled()
    await bob.connect().settled()
    good = ann.write

    def write(packed: list[bytes]) -> None:
        ann.write = good  # type: ignore[method-assign]
        raise RuntimeError("the transport does not take it")

    ann.write = write  # type: ignore[method-assign]
    await here.say(bob, room)
    await until(lambda: ann.connection is None)
    await here.say(bob, room)
    await until(lambda: len(bob.pushed_seqs()) == 2)
    ann.connect()
    await until(lambda: ann.session.settled)
    await here.agree(room, ann, bob)


@pytest.mark.parametrize("hot", [False, True])
async def test_a14_a_push_that_an_interceptor_refuses_is_lost_and_found(tmp_path: Path, hot: bool) -> None:
    async with site(tmp_path, hot_members=2 if hot else 100) as here:
        ann, bob, cem = await here.people(3)
        room = await here.group(ann, bob, cem)
        assert await here.is_hot(room) is hot
        await bob.connect().settled()
        dispatcher = here.server.pipeline
        good = dispatcher.intercept
        refused: list[Any] = []

        def intercept(point: Any, caller: Any, value: Any) -> Any:
            if point == "push" and not refused:
                refused.append(value)
                raise Unavailable("the plugin does not answer")
            return good(point, caller, value)

        here.server.gateway.deliveries._pushing._encoding._intercept = intercept
        await here.say(ann, room)
        await here.agree(room, bob)
        assert refused
        assert ("beat", 0, 0) in bob.pushed, "told to be behind"


async def test_c2_a_room_that_is_large_again_before_fan_out_has_seen_it_small(here: Site) -> None:
    room, (ann, bob, cem, *others) = await hot_room(here)
    await ann.connect().settled()
    go_on = asyncio.Event()
    real, first = here.fanout._hand_on, True

    async def hand_on(batches: Any) -> None:
        nonlocal first
        if first:
            first = False
            await go_on.wait()
        await real(batches)

    here.fanout._hand_on = hand_on  # type: ignore[method-assign]
    await here.change(ann, "group.kick", room, *others[1:])
    await here.say(ann, room, "while it is small")
    await here.change(ann, "group.invite", room, *others[1:])
    go_on.set()
    await here.fanned(room)
    await bob.connect().settled()
    await here.say(cem, room)
    await here.agree(room, ann, bob)
    assert await here.is_hot(room)


async def test_n8_a_hot_room_moves_up_between_two_pages_of_the_list(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on no page, and no version tells of it: the client asks for the row that it lacks."""
    monkeypatch.setattr(client_jobs, "PAGE", 3)
    room, (ann, bob, *_) = await hot_room(here)
    bob = Person(here.server, "p1", bob.user, bob.token, whole=False)
    for _ in range(4):
        await here.group(ann, bob)
    first = Gate(here.server.pipeline, "call", lambda caller, command, params: command == "inbox.list")
    bob.connect()
    await first.caught()
    await here.say(ann, room, "between two pages")
    await here.fanned(room)
    first.open.set()
    await bob.settled()
    row = bob.session.state.room(room).inbox
    assert row is not None
    assert row.head.seq == bob.session.state.room(room).newest
    for _ in range(2):
        await here.say(ann, room, "later")
    await here.agree(room, bob)
    assert bob.told(room)[-2:] == [row.head.seq + 1, row.head.seq + 2]
