"""Hot conversations on one node: who gets what, in which order, whatever is lost, late or read at another moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from chat_common.errors import Unavailable
from chat_server.gateway.streams import StreamSettings
from chat_server.services import Delivery, MembersAsked, Membership, Present

from tests.chat_server.gateway.fakes import House, deliver, hand, members, message, revs, seqs, until


async def test_a_conversation_that_turns_hot_tells_who_is_in_it_and_nothing_is_asked() -> None:
    async with House() as house:
        ann, _ = await house.enter("ann")
        eve, _ = await house.enter("eve")
        await deliver(house, range(1, 6), {"ann": 1})
        here = {"ann": [[1]], "elsewhere": [[1]]}
        await house.gateway.deliver([Delivery([], None, "c", 6, 5, members=here)])
        await deliver(house, range(6, 8), None)
        assert await seqs(ann, 7) == [1, 2, 3, 4, 5, 6, 7]
        assert eve.rest() == []
        assert house.im.asked == []


async def test_the_last_batch_by_name_and_the_turning_may_come_in_one_call() -> None:
    async with House() as house:
        ann, _ = await house.enter("ann")
        pushes = [message("c", 1)]
        unit = [Delivery(pushes, {"ann": 1}, "c", 1, 1), Delivery([], None, "c", 2, 1, members={"ann": [[1]]})]
        await house.gateway.deliver(unit)
        await house.gateway.deliver(unit)
        await deliver(house, range(2, 3), None)
        assert await seqs(ann, 2) == [1, 2]
        assert ann.rest() == []
        stream = house.gateway.streams.get("c")
        assert stream is not None
        assert stream.known is not None, "what was repeated does not turn it normal"


async def test_of_a_hot_conversation_never_heard_of_the_members_are_asked_for_and_told_to_sync() -> None:
    async with House() as house:
        ann, _ = await house.enter("ann")
        eve, _ = await house.enter("eve")
        house.im.hot["c"] = (7, {"ann", "bob"})
        await deliver(house, range(5, 6), None)
        await deliver(house, range(6, 8), None)
        assert (await ann.get())["op"] == "lagged"
        await deliver(house, range(8, 9), None)
        assert await seqs(ann, 1) == [8]
        assert eve.rest() == []
        assert house.im.asked == [("present", "c", ("ann", "eve"))]


async def test_a_session_that_starts_while_pushes_are_under_way_gets_none_of_before() -> None:
    async with House() as house:
        house.im.hot["c"] = (3, {"ann"})
        ann, _ = await house.enter("ann")
        house.im.hot["c"] = (6, {"ann", "eve"})
        eve, _ = await house.enter("eve")
        await deliver(house, range(4, 9), None)
        assert await seqs(ann, 5) == [4, 5, 6, 7, 8]
        assert await seqs(eve, 2) == [7, 8]
        assert eve.rest() == []


@pytest.mark.parametrize("passed", [False, True], ids=["nothing passed", "something passed"])
async def test_who_comes_while_members_are_asked_for_is_asked_for_only_if_something_passed_him(passed: bool) -> None:
    """A crowd that comes back to a quiet room is not told to sync once more."""
    async with House() as house:
        im, gate, read = house.im, asyncio.Event(), asyncio.Event()
        present, asked = im.present, list[tuple[str, ...]]()

        async def late(question: MembersAsked) -> Present:
            asked.append(tuple(question.users))
            await gate.wait()
            return await present(question)

        async def later() -> None:
            await read.wait()

        im.hot["c"] = (3, {"ann", "eve"})
        im.present = late  # type: ignore[method-assign]
        await house.enter("ann")
        await until(lambda: asked)
        im.before_version = later
        entering = asyncio.ensure_future(house.enter("eve"))
        await until(lambda: "eve" in house.gateway.sessions.index.by_user)
        if passed:
            im.hot["c"] = (4, {"ann", "eve"})
            await deliver(house, range(4, 5), None)
        gate.set()
        stream = house.gateway.streams.get("c")
        assert stream is not None
        await until(lambda: not stream.reading)
        read.set()
        eve, _ = await entering
        await until(lambda: not stream.reading)
        assert [frame["op"] for frame in eve.rest()] == (["lagged"] if passed else [])
        await deliver(house, range(5, 6) if passed else range(4, 5), None)
        assert await seqs(eve, 1) == [5 if passed else 4]
        assert asked == ([("ann",), ("ann", "eve")] if passed else [("ann",)])


async def test_a_session_enters_its_hot_conversations_when_it_starts() -> None:
    async with House() as house:
        house.im.hot["c"] = (5, {"ann"})
        wire, _ = await house.enter("ann")
        await deliver(house, range(5, 6), None)
        await deliver(house, range(6, 7), None)
        assert await seqs(wire, 1) == [6]
        await deliver(house, range(7, 8), None)
        assert await seqs(wire, 1) == [7]
        assert house.im.asked == [("present", "c", ("ann",))], "once: who else is in it"


async def test_a_second_device_gets_what_the_first_one_gets() -> None:
    async with House() as house:
        house.im.hot["c"] = (5, {"ann"})
        first, _ = await house.enter("ann")
        house.im.hot["c"] = (7, {"ann"})
        second, _ = await house.enter("ann", device="d2")
        await deliver(house, range(6, 9), None)
        assert await seqs(first, 3) == [6, 7, 8]
        assert (await seqs(second, 3))[-1] == 8, "what it has synced already it drops"


async def test_a_change_of_an_old_message_reaches_only_who_may_see_the_message() -> None:
    """eve's membership begins with seq 5; what others say to seq 4 is none of hers."""
    async with House() as house:
        house.im.hot["c"] = (4, {"ann", "eve"})
        house.im.spans["eve"] = [[5]]
        ann, _ = await house.enter("ann")
        eve, _ = await house.enter("eve")
        house.im.asked.clear()
        for push in [message("c", 5), message("c", 4, rev=6), message("c", 5, rev=7), message("c", 6, rev=8)]:
            await hand(house, push)
        assert await revs(ann, 4) == [5, 6, 7, 8]
        seen = [await eve.until("push") for _ in range(4)]
        assert [(push["event"], push["data"]["rev"]) for push in seen] == [
            ("message", 5), ("members", 6), ("message", 7), ("message", 8),
        ]  # fmt: skip
        assert seen[1]["data"] == {"conversation": "c", "rev": 6, "members": []}, "the stamp, and nothing of the rest"
        assert eve.rest() == []
        assert house.im.asked == [], "the spans say it"


async def test_who_joins_gets_no_change_of_what_was_said_before() -> None:
    async with House() as house:
        house.im.hot["c"] = (1, {"ann"})
        ann, _ = await house.enter("ann")
        eve, _ = await house.enter("eve")
        await hand(house, message("c", 2))
        await hand(
            house, members("c", 3, eve=[[3]]), message("c", 2, rev=4), message("c", 3, rev=5), message("c", 1, rev=6)
        )
        assert await revs(ann, 5) == [2, 3, 4, 5, 6]
        seen = [await eve.until("push") for _ in range(4)]
        assert [(push["event"], push["data"]["rev"]) for push in seen] == [
            ("members", 3), ("members", 4), ("message", 5), ("members", 6),
        ]  # fmt: skip
        assert [push["data"]["members"] for push in seen[1::2]] == [[], []]
        assert eve.rest() == []


async def test_members_pushes_say_who_is_in_it() -> None:
    async with House() as house:
        house.im.hot["c"] = (1, {"ann", "bob"})
        ann, _ = await house.enter("ann")
        bob, _ = await house.enter("bob")
        eve, _ = await house.enter("eve")
        await hand(house, message("c", 2, rev=2), members("c", 3, eve=[[3]], bob=[[1, 2]]), message("c", 3, rev=4))
        assert await revs(ann, 3) == [2, 3, 4]
        assert await revs(eve, 2) == [3, 4]
        assert await revs(bob, 2) == [2, 3]
        assert ann.rest() == eve.rest() == bob.rest() == []


async def test_who_was_out_and_came_back_within_what_the_log_tells_sees_nothing_of_between() -> None:
    """bob left with seq 2 and is back from seq 5; his row says so under rev 7, and stands at the end of the log."""
    async with House() as house:
        house.im.hot["c"] = (2, {"ann", "bob"})
        ann, _ = await house.enter("ann")
        bob, _ = await house.enter("bob")
        back = [[1, 2], [5]]
        log = [message("c", 2, rev=3, since=2), message("c", 3, rev=4), message("c", 4, rev=5)]
        house.im.log["c"] = [*log, members("c", 7, bob=back)]
        house.im.later = {"bob": Membership(7, back)}
        await hand(house, message("c", 5, rev=8))
        assert await revs(ann, 5) == [3, 4, 5, 7, 8]
        assert await revs(bob, 3) == [3, 7, 8]
        assert bob.rest() == []


async def test_fan_out_that_read_the_log_tells_of_memberships_that_come_later() -> None:
    async with House() as house:
        house.im.hot["c"] = (2, {"ann", "bob"})
        ann, _ = await house.enter("ann")
        bob, _ = await house.enter("bob")
        await hand(house, message("c", 3), later={"bob": Membership(9, [[1, 2], [5]])})
        assert await revs(ann, 1) == [3]
        assert bob.rest() == []


async def test_a_gap_is_read_from_the_log_before_what_follows() -> None:
    async with House() as house:
        house.im.hot["c"] = (1, {"ann"})
        house.im.log["c"] = [message("c", seq) for seq in range(1, 20)]
        wire, _ = await house.enter("ann")
        await deliver(house, range(2, 3), None)
        await deliver(house, range(8, 9), None)
        await deliver(house, range(9, 10), None)
        assert await seqs(wire, 8) == list(range(2, 10))
        house.im.hot["c"] = (12, {"ann"})
        house.gateway.check.judge(await house.gateway.check.ask())
        assert await seqs(wire, 3) == [10, 11, 12]
        assert wire.rest() == []


async def test_a_gap_too_wide_is_left_to_the_clients_sync_and_they_are_told() -> None:
    async with House(backlog=4) as house:
        house.im.hot["c"] = (1, {"ann"})
        wire, _ = await house.enter("ann")
        house.im.hot["c"] = (9, {"ann"})
        await deliver(house, range(9, 10), None)
        assert (await wire.get())["op"] == "lagged"
        await deliver(house, range(10, 11), None)
        assert await seqs(wire, 1) == [10]
        assert wire.rest() == []


async def test_a_conversation_that_cools_names_its_recipients_again() -> None:
    async with House() as house:
        house.im.hot["c"] = (1, {"ann"})
        wire, _ = await house.enter("ann")
        await deliver(house, range(2, 3), None)
        await deliver(house, range(3, 4), {"ann": 1})
        assert await seqs(wire, 2) == [2, 3]
        stream = house.gateway.streams.get("c")
        assert stream is not None
        assert stream.known is None


async def test_what_was_lost_before_it_cooled_is_read_first() -> None:
    async with House() as house:
        house.im.hot["c"] = (1, {"ann"})
        house.im.log["c"] = [message("c", seq) for seq in range(1, 20)]
        wire, _ = await house.enter("ann")
        await deliver(house, range(4, 5), {"ann": 1})
        assert await seqs(wire, 3) == [2, 3, 4]


async def test_who_is_gone_is_forgotten_and_nothing_is_asked_for_them() -> None:
    async with House() as house:
        house.im.hot["c"] = (1, {"ann"})
        wire, _ = await house.enter("ann")
        assert house.gateway.streams.watched() == ["c"]
        wire.link.lost()
        house.advance(60)
        house.advance(61)
        assert house.gateway.streams.watched() == []


async def test_streams_that_nobody_is_in_are_bounded() -> None:
    async with House(cursor_cache_size=3) as house:
        house.im.hot["mine"] = (1, {"ann"})
        await house.enter("ann")
        for number in range(20):
            await deliver(house, range(1, 2), {"ann": 0}, f"c{number}")
        assert house.gateway.streams.get("c19") is not None
        assert house.gateway.streams.get("c5") is None
        assert house.gateway.streams.get("mine") is not None


# --- the check ------------------------------------------------------------------------------------------------------


async def test_the_check_finds_what_has_turned_hot_unheard() -> None:
    async with House() as house:
        wire, _ = await house.enter("ann")
        house.im.hot["c"] = (11, {"ann"})
        house.im.turned_hot["c"] = house.clock.wall_ms()
        house.gateway.check.judge(await house.gateway.check.ask())
        assert (await wire.get())["op"] == "lagged"
        await deliver(house, range(12, 13), None)
        assert await seqs(wire, 1) == [12]


class Refusing:
    """A question of im that fails while it is ``refusing``."""

    def __init__(self, house: House, name: str, error: Exception) -> None:
        self.refusing = True
        real = getattr(house.im, name)

        async def asked(*args: Any) -> Any:
            if self.refusing:
                raise error
            return await real(*args)

        setattr(house.im, name, asked)


AWAY = (Unavailable("the database does not answer"), RuntimeError("a defect of a backend"))


@pytest.mark.parametrize("error", AWAY)
async def test_a_gap_that_cannot_be_read_is_read_by_the_next_check(error: Exception) -> None:
    async with House() as house:
        house.im.hot["c"] = (10, {"ann"})
        wire, _ = await house.enter("ann")
        house.im.hot["c"] = (12, {"ann"})
        house.im.log["c"] = [message("c", seq) for seq in range(1, 13)]
        gap = Refusing(house, "gap", error)
        house.gateway.check.judge(await house.gateway.check.ask())
        await asyncio.sleep(0.01)
        gap.refusing = False
        assert wire.rest() == []
        house.gateway.check.judge(await house.gateway.check.ask())
        assert await seqs(wire, 2) == [11, 12]


@pytest.mark.parametrize("error", AWAY)
async def test_a_conversation_whose_members_cannot_be_asked_for_is_asked_again(error: Exception) -> None:
    async with House() as house:
        wire, _ = await house.enter("ann")
        house.im.hot["c"] = (12, {"ann"})
        present = Refusing(house, "present", error)
        await deliver(house, range(11, 12), None)
        await deliver(house, range(12, 13), None)
        await asyncio.sleep(0.01)
        present.refusing = False
        house.gateway.check.judge(await house.gateway.check.ask())
        assert (await wire.get())["op"] == "lagged"
        await deliver(house, range(13, 14), {"ann": 1})
        assert await seqs(wire, 1) == [13]


async def test_more_than_can_wait_is_read_from_the_log() -> None:
    async with House() as house:
        house.im.hot["c"] = (1, {"ann"})
        house.im.log["c"] = [message("c", seq) for seq in range(1, 60)]
        wire, _ = await house.enter("ann")
        house.gateway.streams._settings = StreamSettings(waiting=3)
        for seq in range(3, 50):
            await deliver(house, range(seq, seq + 1), None)
        assert await seqs(wire, 48) == list(range(2, 50))


async def test_a_refused_push_is_a_lost_push() -> None:
    """In a hot conversation no version tells of it: the next beat does."""
    async with House() as house:
        house.im.hot["c"] = (1, {"ann"})
        wire, _ = await house.enter("ann")
        named, _ = await house.enter("bob")

        def interceptor(point: str, caller: Any, value: Any) -> Any:
            if point == "push":
                raise Unavailable("the plugin does not answer")
            return value

        house.dispatcher.interceptor = interceptor
        await deliver(house, range(2, 3), None)
        await deliver(house, range(1, 2), {"bob": 1}, "other")
        house.dispatcher.interceptor = None
        house.im.versions["bob"] = 1
        assert house.gateway.check.judge(await house.gateway.check.ask()) == 2
        assert (await wire.get())["behind"]
        assert (await named.get())["behind"]
        assert house.gateway.check.judge(await house.gateway.check.ask()) == 1, "bob is, until he has synced"


async def test_a_write_that_raises_ends_that_one_connection() -> None:
    async with House() as house:
        house.im.hot["c"] = (1, {"ann", "bob"})
        ann, _ = await house.enter("ann")
        bob, _ = await house.enter("bob")

        def write(packed: Any) -> None:
            raise RuntimeError("the transport does not take it")

        ann.write = write  # type: ignore[method-assign]
        for seq in (2, 3):
            await deliver(house, range(seq, seq + 1), None)
            assert await seqs(bob, 1) == [seq]
        await deliver(house, range(1, 2), {"ann": 1, "bob": 1}, "other")
        assert await seqs(bob, 1) == [1]
        await until(lambda: ann.aborted)


@pytest.mark.parametrize("pages", [1, 2])
async def test_who_was_put_out_behind_a_hole_is_told_to_sync(pages: int) -> None:
    """A message said before and edited after stands in the log under its newest stamp alone, which is not for who has
    left: his last stamp must not pretend that he has all before it."""
    async with House() as house:
        house.im.hot["c"] = (3, {"ann", "eve"})
        ann, _ = await house.enter("ann")
        eve, _ = await house.enter("eve")
        await deliver(house, range(3, 4), None)
        # Lost: message 4 at rev 4, message 5 at 5, eve is put out at 6, message 4 is edited at 7.
        out = members("c", 6, eve=[[1, 5]])
        house.im.log["c"] = [message("c", 5, rev=5, since=3), out, message("c", 4, rev=7, since=6)]
        if pages == 2:  # What has the hole is read from the log; the rest comes by itself.
            await hand(house, house.im.log["c"][0])
            await hand(house, out)
            await hand(house, house.im.log["c"][2])
        await hand(house, message("c", 6, rev=8))
        assert [(await ann.get())["data"]["rev"] for _ in range(4)] == [5, 6, 7, 8]
        assert (await eve.get())["data"]["seq"] == 5
        assert (await eve.get())["op"] == "lagged", "and not the stamp by which he has left, which would join on"
        assert eve.rest() == []


@pytest.mark.parametrize("back", [False, True], ids=["put out", "put out and let in again"])
async def test_who_is_in_it_by_an_older_account_than_the_answer_is_judged_by_the_answer(back: bool) -> None:
    """That he was put out was lost on its way, and it turned normal and hot again in between."""
    async with House() as house:
        house.im.hot["c"] = (3, {"ann", "eve"})
        ann, _ = await house.enter("ann")
        eve, _ = await house.enter("eve")
        await deliver(house, range(3, 4), None)
        house.im.hot["c"] = (9, {"ann", "eve"} if back else {"ann"})
        house.im.spans["eve"] = [[1, 3], [9]]
        house.gateway.streams.is_hot("c", 9, hot_at=5)
        stream = house.gateway.streams.get("c")
        assert stream is not None
        await until(lambda: not stream.reading)
        house.im.log["c"] = []
        await hand(house, message("c", 8, rev=10, since=3))
        assert await seqs(ann, 1) == [8]
        told = eve.rest()
        assert told[0]["op"] == "lagged"
        assert [frame for frame in told if frame.get("event") == "message"] == []
