"""Pushes through the gateway: shared, deduplicated, bounded, healed, and to nobody who may not see them."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from chat_common.errors import Conflict, Unavailable
from chat_common.records import Caller, Push
from chat_server.services import Delivery, EphemeralNote, Heads, HeadsAsked

from tests.chat_server.gateway.fakes import House, ListFraming, deliver, message, seqs, until


async def test_everybody_gets_the_same_bytes_packed_once_and_written_once_a_tick() -> None:
    async with House() as house:
        framing = ListFraming()
        wires = []
        for number in range(20):
            wire = house.wire(framing)
            wire.hello(f"u{number}")
            await wire.until("welcome")
            wires.append(wire)
        framing.packed = 0
        before = [wire.writes for wire in wires]
        users = {f"u{number}": 0 for number in range(20)}
        for seq in range(1, 9):
            await deliver(house, range(seq, seq + 1), users)
        for wire in wires:
            assert await seqs(wire, 8) == list(range(1, 9))
        assert framing.packed == 1
        assert [wire.writes - was for wire, was in zip(wires, before, strict=True)] == [1] * 20


async def test_only_those_named_get_it_on_all_their_sessions() -> None:
    async with House() as house:
        ann, _ = await house.enter("ann")
        ann2, _ = await house.enter("ann", device="d2")
        bob, _ = await house.enter("bob")
        await deliver(house, range(1, 2), {"ann": 1, "eve": 1})
        assert await seqs(ann, 1) == await seqs(ann2, 1) == [1]
        assert bob.rest() == []


async def test_what_this_node_had_is_dropped() -> None:
    async with House() as house:
        wire, _ = await house.enter("ann")
        await deliver(house, range(1, 4), {"ann": 0})
        await deliver(house, range(2, 4), {"ann": 0})
        await deliver(house, range(3, 6), {"ann": 0})
        await deliver(house, range(1, 2), {"ann": 0}, "other")
        assert await seqs(wire, 6) == [1, 2, 3, 4, 5, 1]
        assert wire.rest() == []


async def test_one_call_may_bring_the_same_revs_to_different_users() -> None:
    async with House() as house:
        ann, _ = await house.enter("ann")
        bob, _ = await house.enter("bob")
        pushes = [message("c", 1)]
        await house.gateway.deliver([Delivery(pushes, {"ann": 1}, "c", 1, 1), Delivery(pushes, {"bob": 1}, "c", 1, 1)])
        assert await seqs(ann, 1) == await seqs(bob, 1) == [1]


async def test_a_push_that_covers_more_says_since() -> None:
    async with House() as house:
        wire, _ = await house.enter("ann")
        push = message("c", 5, rev=9, since=6)
        await house.gateway.deliver([Delivery([push], {"ann": 1}, "c", 7, 9)])
        assert (await wire.until("push"))["data"] == {"conversation": "c", "seq": 5, "rev": 9, "since": 6}


async def test_a_push_interceptor_may_change_and_drop() -> None:
    async with House() as house:

        def interceptor(point: str, caller: Caller | None, value: Any) -> Any:
            if point == "push":
                if value.seq == 2:
                    raise Conflict("no")
                return Push(value.event, {"seq": value.seq * 10}, value.conversation, value.rev, value.since, value.seq)
            return value

        house.dispatcher.interceptor = interceptor
        wire, _ = await house.enter("ann")
        await deliver(house, range(1, 4), {"ann": 1})
        assert await seqs(wire, 2) == [10, 30]
        assert wire.rest() == []


async def test_a_version_alone_is_no_push() -> None:
    async with House() as house:
        wire, _ = await house.enter("ann")
        await house.gateway.deliver([Delivery([], {"ann": 1}), Delivery([Push("inbox", {"version": 2})], {"ann": 2})])
        assert (await wire.until("push"))["event"] == "inbox"
        house.advance(30)
        assert (await wire.until("beat"))["version"] == 2


async def test_a_slow_socket_waits_alone_and_is_closed_in_the_end() -> None:
    async with House(window=4, backlog=4) as house:
        slow, _ = await house.enter("ann")
        quick, _ = await house.enter("bob")
        slow.link.paused()
        assert not slow.reading  # else answers to who does not read would be kept without a bound
        for seq in range(1, 31):
            await deliver(house, range(seq, seq + 1), {"ann": seq, "bob": seq})
            assert await seqs(quick, 1) == [seq]
            quick.say(op="ack", received=seq)
        session = slow.link.session
        assert session is not None
        assert session.window.lagging
        assert session.window.held < 1_000
        await house.gateway.note(EphemeralNote(["ann"], "typing", {}))
        slow.link.resumed()
        assert slow.reading
        assert await seqs(slow, 4) == [1, 2, 3, 4]
        slow.say(op="ack", received=4)
        assert (await slow.get())["op"] == "lagged"
        slow.link.paused()
        house.advance(19)
        assert not slow.aborted
        house.advance(2)
        await until(lambda: slow.aborted)


async def test_who_is_behind_is_told_once_the_grace_is_over() -> None:
    lost = {2}
    async with House(drop=lambda delivery: delivery.first in lost) as house:
        wire, _ = await house.enter("ann")
        fine, _ = await house.enter("bob")
        for seq in range(1, 4):
            await deliver(house, range(seq, seq + 1), {"ann": seq})
        house.im.versions.update(ann=3, bob=0)
        assert await seqs(wire, 2) == [1, 3]
        expected = await house.gateway.check.ask()
        assert house.gateway.check.judge(expected) == 1
        assert await wire.get() == {"op": "beat", "version": 1, "behind": True, "server_time": house.clock.wall_ms()}
        assert fine.rest() == []
        session = wire.link.session
        assert session is not None
        session.versions.synced(3)
        assert house.gateway.check.judge(expected) == 0


async def test_a_push_under_way_during_the_question_is_not_behind() -> None:
    async with House() as house:
        wire, _ = await house.enter("ann")
        house.im.versions["ann"] = 1
        expected = await house.gateway.check.ask()
        await deliver(house, range(1, 2), {"ann": 1})
        assert house.gateway.check.judge(expected) == 0
        assert await seqs(wire, 1) == [1]


async def test_the_question_is_paged_and_asks_nothing_of_idle_rooms() -> None:
    async with House() as house:
        await house.enter("ann")
        await house.gateway.check.ask()
        assert house.im.asked == [("heads", ("ann",), ())]


async def test_a_new_epoch_ends_every_session() -> None:
    async with House() as house:
        wire, _ = await house.enter("ann")
        house.im.epoch = "e2"
        await house.gateway.check.ask()
        bye = await wire.until("bye")
        assert (bye["code"], bye["reconnect"]) == (4101, "sync")


@pytest.mark.parametrize("hot", [False, True])
async def test_a_new_epoch_begins_with_lower_numbers_than_the_last_one_had(hot: bool) -> None:
    """A store that was promoted with loss takes revs again that this node has already handed on."""
    async with House() as house:
        if hot:
            house.im.hot["c"] = (0, {"ann"})
        users = None if hot else {"ann": 0}
        wire, _ = await house.enter("ann")
        await deliver(house, range(1, 9), users)
        assert await seqs(wire, 8) == list(range(1, 9))
        house.im.epoch = "e2"
        if hot:
            house.im.hot["c"] = (4, {"ann"})
        await house.gateway.check.ask()
        await wire.until("bye")
        again, _ = await house.enter("ann")
        await deliver(house, range(5, 7), users)
        assert await seqs(again, 2) == [5, 6]


@pytest.mark.parametrize("hot", [False, True])
async def test_a_delivery_of_the_epoch_before_moves_nothing(hot: bool) -> None:
    """Another node's fan-out hears of the new epoch later than this node does."""
    async with House() as house:
        if hot:
            house.im.hot["c"] = (4, {"ann"})
        await house.enter("ann")
        house.im.epoch = "e2"
        await house.gateway.check.ask()
        wire, _ = await house.enter("ann")
        late = None if hot else {"ann": 1}
        await house.gateway.deliver(
            [Delivery([message("c", rev, rev) for rev in range(5, 9)], late, "c", 5, 8, epoch="e1")]
        )
        await house.gateway.deliver([Delivery([message("c", 5, 5)], late, "c", 5, 5, epoch="e2")])
        assert await seqs(wire, 1) == [5]
        assert house.gateway.sessions.index.by_user["ann"][-1].version == (0 if hot else 1)


async def test_hot_conversations_of_a_question_that_failed_half_way_are_asked_for_again() -> None:
    async with House() as house:
        await house.enter("ann")
        real, asked = house.im.heads, list[int]()

        async def heads(question: HeadsAsked) -> Heads:
            asked.append(question.hot_since)
            if len(asked) == 2:
                raise Unavailable("the database is away")
            found = await real(question)
            return evolve(found, until=question.hot_since + 600_000, more=len(asked) == 1)

        house.im.heads = heads  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            await house.gateway.check.ask()
        await house.gateway.check.ask()
        assert asked == [asked[0], asked[0] + 600_000, asked[0]]


# --- what goes back ------------------------------------------------------------------------------------------------


async def test_acknowledged_messages_are_reported_coalesced() -> None:
    async with House(report_acks=True) as house:
        wire, _ = await house.enter("ann")
        await deliver(house, range(1, 4), {"ann": 1})
        await deliver(house, range(1, 2), {"ann": 2}, "other")
        await seqs(wire, 4)
        wire.say(op="ack", received=2)
        await house.gateway.acknowledgements.report()
        assert house.router.acknowledgements == []
        wire.say(op="ack", received=3)
        wire.say(op="ack", received=4)
        await house.gateway.acknowledgements.report()
        assert house.router.acknowledgements == [("ann", {"c": 3, "other": 1})]
        await house.gateway.acknowledgements.report()
        assert len(house.router.acknowledgements) == 1


# --- notes ---------------------------------------------------------------------------------------------------------


async def test_typing_reaches_the_other_members() -> None:
    async with House() as house:
        house.im.rooms["c"] = {"ann", "bob"}
        ann, _ = await house.enter("ann")
        bob, _ = await house.enter("bob")
        eve, _ = await house.enter("eve")
        ann.say(op="note", event="typing", data={"conversation": "c"})
        assert await bob.get() == {"op": "note", "event": "typing", "data": {"conversation": "c", "user": "ann"}}
        eve.say(op="note", event="typing", data={"conversation": "c"})
        eve.say(op="note", event="typing", data={})
        assert (await eve.get())["field"] == "conversation"
        eve.say(op="note", event="unheard-of", data={})
        eve.say(op="ping")
        assert (await eve.get())["op"] == "pong"
        assert ann.rest() == []
