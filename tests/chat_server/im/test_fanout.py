"""Fan-out: each message to exactly the members whose interval holds it, whatever the broker loses or repeats."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import define, evolve
from chat_common.ports.broker import BrokerRecord
from chat_server.im.diffusion import save_fanned
from chat_server.im.fanout import Fanout
from chat_server.im.heat import FanoutSettings
from chat_server.im.sweeper import Sweeper
from chat_server.store import epoch
from chat_server.store.account_schema import push_address
from chat_server.store.leases import Leases
from chat_server.store.schema import conversation, fanned, lease, member, message, meta, push_due, version
from sqlalchemy import Connection, delete, insert, select, update

from tests.chat_server.house import House, Store, opened, read_transactions


def told(house: House, user: str, room: str) -> list[int]:
    """The seqs of messages that deliveries named this user for."""
    return [push.seq for push in house.pushed(user) if push.event == "message" and push.conversation == room]


def stored(house: House) -> list[BrokerRecord]:
    """The waiting records of conversations; those of single users are thrown away."""
    records = [record for record in house.outbox.take() if record.topic == "stored"]
    return records


def cold(records: list[BrokerRecord]) -> list[BrokerRecord]:
    """As they come from a broker of another process: there is no inline payload."""
    return [evolve(record, inline=None) for record in records]


def forgetful(house: House) -> Fanout:
    """Fan-out of a new process: it knows what the database knows."""
    old = house.rooms.fanout
    return Fanout(
        house.database,
        house.rooms.executor,
        house.clock,
        old._settings,
        old._deliver,
        lambda event, data: None,
    )


async def coming_and_going(house: House) -> tuple[str, str, str, str]:
    """bob hears 1, is away for "between", and comes back; cem comes last. Nothing is fanned out but message 1."""
    ada, bob, cem = await house.users("ada", "bob", "cem")
    room = await house.group(ada, bob)
    await house.say(ada, room, "1")
    await house.pump()
    house.delivered.clear()
    await house.call(ada, "group.kick", conversation=room, users=[bob])  # seq 2 is the system message of it
    await house.say(ada, room, "between")  # 3
    await house.call(ada, "group.invite", conversation=room, users=[bob])  # 4
    await house.say(ada, room, "again")  # 5
    await house.call(ada, "group.invite", conversation=room, users=[cem])  # 6
    await house.say(ada, room, "with cem")  # 7
    return ada, bob, cem, room


@pytest.mark.parametrize("way", ["live", "cold", "reordered", "one by one", "restarted", "restarted cold"])
async def test_nobody_is_told_what_was_said_outside_the_own_interval(house: House, way: str) -> None:
    ada, bob, cem, room = await coming_and_going(house)
    records = stored(house)
    fanout = forgetful(house) if way.startswith("restarted") else house.rooms.fanout
    if way.endswith("cold"):
        records = cold(records)
    if way == "reordered":
        random.Random(1).shuffle(records)
    for batch in [[record] for record in records] if way == "one by one" else [records]:
        await fanout.stored(batch)
    assert set(told(house, ada, room)) >= {2, 3, 4, 5, 6, 7}
    again = {1} if way.startswith("restarted") else set()  # the cursor was not saved before
    assert set(told(house, bob, room)) == {4, 5, 6, 7} | again
    assert told(house, cem, room) == [6, 7]


async def test_records_that_come_again_reach_nobody_twice(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    for text in "abc":
        await house.say(ada, room, text)
    records = stored(house)
    await house.rooms.fanout.stored(records)
    for again in (records, records[::-1], cold(records), records[1:2]):
        await house.rooms.fanout.stored(again)
    assert told(house, bob, room) == [1, 2, 3]


async def test_a_gap_is_read_from_the_log(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    for text in "abcdef":
        await house.say(ada, room, text)
    records = stored(house)
    await house.rooms.fanout.stored(records[-1:])
    assert told(house, bob, room) == [1, 2, 3, 4, 5, 6]
    await house.rooms.fanout.stored(records[:-1])
    assert told(house, bob, room) == [1, 2, 3, 4, 5, 6]


async def test_a_gap_wider_than_a_page_of_the_log_is_read_whole(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await asyncio.gather(*(house.say(ada, room) for _ in range(1201)))
    await house.rooms.fanout.stored(cold(stored(house))[-1:])
    assert told(house, bob, room) == list(range(1, 1202))


async def test_the_cursor_reaches_the_head_and_outlives_the_process(house: House) -> None:
    await coming_and_going(house)
    records = stored(house)
    await house.rooms.fanout.stored(records)
    await house.rooms.fanout.save()
    head = (await house.rows(select(conversation.c.head_rev)))[0][0]
    assert (await house.rows(select(fanned.c.rev)))[0][0] == head
    before = len(house.delivered)
    await forgetful(house).stored(records)
    assert len(house.delivered) == before


async def test_an_older_cursor_never_overwrites_a_newer_one(house: House) -> None:
    await house.database.change(
        lambda connection: save_fanned(connection, house.rooms.epoch, [("room", 5), ("room", 9)])
    )
    await house.database.change(lambda connection: save_fanned(connection, house.rooms.epoch, [("room", 7)]))
    assert [tuple(row) for row in await house.rows(select(fanned))] == [("room", 9)]


async def test_versions_handed_over_have_no_hole_and_end_at_the_user_s_number(house: House) -> None:
    ada, bob, cem = await house.users("ada", "bob", "cem")
    rooms = [await house.group(ada, bob, cem) for _ in range(3)]
    for i in range(10):
        await house.say((ada, bob)[i % 2], rooms[i % 3], mentions=[cem] if i % 4 == 0 else None)
        if i == 5:
            await house.call(ada, "group.kick", conversation=rooms[0], users=[cem])
            await house.call(bob, "user.rename", name="robert")
        if i % 3 == 0:
            await house.pump()
    await house.call(bob, "read", conversation=rooms[1], seq=99)
    await house.pump()
    for user, number in await house.rows(select(version.c.user, version.c.version)):
        handed = sorted(one.users[user] for one in house.delivered if one.users and one.users.get(user))
        assert handed == list(range(1, number + 1))


async def test_a_handler_that_failed_half_way_is_repeated_without_leaks_or_holes(house: House) -> None:
    _, bob, cem, room = await coming_and_going(house)
    records = stored(house)
    fanout, good = house.rooms.fanout, house.rooms.fanout._deliver

    async def dead(deliveries: Any) -> None:
        raise ConnectionError("the other node is gone")

    fanout._deliver = dead
    with pytest.raises(ConnectionError):
        await fanout.stored(records)
    fanout._deliver = good
    await fanout.stored(records)
    assert told(house, bob, room) == [4, 5, 6, 7]
    assert told(house, cem, room) == [6, 7]


async def test_the_sweeper_announces_again_what_the_broker_lost(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.say(ada, room)
    house.outbox.take()  # the broker loses all it had
    sweeper = Sweeper(house.database, house.outbox, house.clock, house.rooms.fanout)
    assert await sweeper.sweep() == 0, "not yet: it may be under way"
    house.clock.advance(4)
    assert await sweeper.sweep() == 1
    await house.pump()
    assert told(house, bob, room) == [1]
    await house.rooms.fanout.save()
    house.clock.advance(60)
    assert await sweeper.sweep() == 0


async def test_where_nothing_was_committed_nothing_is_swept_and_what_is_committed_is(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.pump()
    await house.rooms.fanout.save()
    sweeper = Sweeper(house.database, house.outbox, house.clock, house.rooms.fanout)
    reads = read_transactions(house.database)
    for _ in range(30):
        assert await sweeper.sweep() == 0
        house.clock.advance(2)
    assert len(reads) <= 10 or house.database.dialect != "sqlite", "a minute of an idle server"
    await house.say(ada, room)
    house.outbox.take()  # the broker loses all it had
    assert await sweeper.sweep() == 0
    house.clock.advance(4)
    assert await sweeper.sweep() == 1


async def test_the_sweeper_leaves_what_another_server_sweeps_and_passes_nothing_over_later(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.say(ada, room)
    house.outbox.take()  # the broker loses all it had
    here, there = (Leases(house.database, house.clock, node) for node in ("here", "there"))
    turn = here.of("sweeper")
    there.of("sweeper")
    sweeper = Sweeper(house.database, house.outbox, house.clock, house.rooms.fanout, turn)
    await there.renew()
    await here.renew()
    house.clock.advance(4)
    assert await sweeper.sweep() == 0
    await there.give_back()
    await here.renew()
    # Taken away behind its back, as from a server that was stopped: its own clock says that it holds it.
    await house.database.change(lambda connection: connection.execute(update(lease).values(until=0)))
    there.of("sweeper")
    await there.renew()
    house.clock.advance(1)
    assert turn.held
    assert await sweeper.sweep() == 0
    assert house.outbox.take() == []
    await there.give_back()
    await here.renew()
    house.clock.advance(1)
    assert await sweeper.sweep() == 1
    await house.pump()
    assert told(house, bob, room) == [1]


async def test_the_sweeper_goes_on_until_it_is_fanned_out_however_often_the_broker_forgets(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.say(ada, room)
    sweeper = Sweeper(house.database, house.outbox, house.clock, house.rooms.fanout)
    for _ in range(100):  # the broker forgets for ten minutes
        house.clock.advance(6)
        await sweeper.sweep()
        house.outbox.take()
    for _ in range(10):
        house.clock.advance(6)
        await sweeper.sweep()
    await house.pump()
    assert told(house, bob, room) == [1]


@define
class Past:
    """Where a conversation stood, and the way back there: a store that is promoted with loss."""

    house: House
    room: str
    seq: int
    rev: int

    @classmethod
    async def of(cls, house: House, room: str) -> Past:
        heads = select(conversation.c.head_seq, conversation.c.head_rev).where(conversation.c.conversation == room)
        seq, rev = (await house.rows(heads))[0]
        return cls(house, room, seq, rev)

    async def restore(self) -> None:
        def lose(connection: Connection) -> None:
            connection.execute(delete(message).where(message.c.conversation == self.room, message.c.seq > self.seq))
            here = conversation.c.conversation == self.room
            connection.execute(update(conversation).where(here).values(head_seq=self.seq, head_rev=self.rev))
            diffused = update(member).where(member.c.diffused > self.rev)
            connection.execute(diffused.values(diffused=self.rev))
            connection.execute(update(member).where(member.c.mention_seq > self.seq).values(mention_seq=0))
            connection.execute(delete(fanned).where(fanned.c.rev > self.rev))
            epoch.renew(connection)

        await self.house.database.change(lose)
        self.house.outbox.take()  # What was announced in the lost history is lost too.


async def test_a_store_promoted_with_loss_takes_revs_again_that_were_fanned_out(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    fanout = house.rooms.fanout
    sweeper = Sweeper(house.database, house.outbox, house.clock, fanout)
    await sweeper.sweep()
    past = await Past.of(house, room)
    seq = past.seq
    for _ in range(3):
        await house.say(ada, room, "lost")
    await house.pump()
    await fanout.save()
    await past.restore()
    await house.say(ada, room, "of the new epoch")
    house.delivered.clear()
    house.clock.advance(4)
    await sweeper.sweep()
    await house.pump()
    assert told(house, bob, room) == [seq + 1]
    await house.say(ada, room)
    await house.pump()
    assert told(house, bob, room) == [seq + 1, seq + 2]


@pytest.mark.parametrize("swept", [True, False], ids=["swept", "not yet swept"])
@pytest.mark.parametrize("hot", [False, True], ids=["normal", "hot"])
@pytest.mark.parametrize("moment", ["before the inboxes", "before the nodes", "before the end", "while it saves"])
async def test_a_batch_in_flight_takes_no_number_into_a_new_epoch(
    store: Store, moment: str, hot: bool, swept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is restored while fan-out has the lost messages in hand: those that take their revs are fanned out."""
    async with opened(store, fanout=FanoutSettings(hot_members=1 if hot else 500)) as house:
        ada, bob = await house.users("ada", "bob")
        room = await house.group(ada, bob)
        await house.say(ada, room, "kept")
        await house.pump()
        fanout = house.rooms.fanout
        await fanout.save()
        sweeper = Sweeper(house.database, house.outbox, house.clock, fanout)
        await sweeper.sweep()
        past = await Past.of(house, room)
        for _ in range(3):
            await house.say(ada, room, "lost", mentions=[bob])
        lost = stored(house)
        restored: list[str] = []

        async def restore(here: str) -> None:
            if here == moment and not restored:
                restored.append(here)
                await past.restore()
                if swept:
                    await sweeper.sweep()

        real, deliver = fanout._database.change_many, fanout._deliver
        change = fanout._database.change

        async def change_many(apply: Any, item: Any, by: str = "") -> Any:
            await restore("before the inboxes")
            return await real(apply, item, by)

        async def saved(work: Any, by: str = "") -> Any:
            await restore("while it saves")
            return await change(work, by)

        async def delivered(deliveries: Any) -> None:
            await restore("before the nodes")
            await deliver(deliveries)
            await restore("before the end")

        monkeypatch.setattr(fanout, "_deliver", delivered)
        monkeypatch.setattr(fanout._database, "change_many", change_many)
        await fanout.stored(lost)
        monkeypatch.setattr(fanout._database, "change", saved)
        await fanout.save()
        monkeypatch.undo()
        if not restored:
            assert hot
            assert moment == "before the inboxes"
            return
        house.delivered.clear()
        await house.say(ada, room, "of the new epoch")
        await house.say(ada, room, "of the new epoch")
        await house.pump()
        await fanout.save()
        house.clock.advance(4)
        await sweeper.sweep()
        await house.pump()
        seqs = [push.seq for one in house.delivered for push in one.pushes if push.event == "message"]
        assert sorted(set(seqs)) == [past.seq + 1, past.seq + 2]
        now = (await house.rows(select(meta.c.value).where(meta.c.key == "epoch")))[0][0]
        assert {one.epoch for one in house.delivered if one.last} == {now}
        head = (await Past.of(house, room)).rev
        await fanout.save()
        assert [row.rev for row in await house.rows(select(fanned).where(fanned.c.conversation == room))] == [head]
        rows = await house.rows(select(member).where(member.c.conversation == room, member.c.user == bob))
        assert rows[0].diffused <= head
        assert rows[0].mention_seq <= past.seq + 2


async def test_the_first_message_of_a_new_epoch_is_no_repetition_of_a_lost_one(house: House) -> None:
    """Nobody has told fan-out of the new epoch: it asks before it drops a record for its number."""
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.pump()
    past = await Past.of(house, room)
    for _ in range(3):
        await house.say(ada, room, "lost")
    await house.pump()
    await past.restore()
    house.delivered.clear()
    await house.say(ada, room, "of the new epoch")
    await house.pump()
    assert told(house, bob, room) == [past.seq + 1]


async def test_offline_pushes_are_owed_to_subscribed_members_who_have_not_muted(house: House) -> None:
    ada, bob, cem, dan = await house.users("ada", "bob", "cem", "dan")
    room = await house.group(ada, bob, cem, dan)
    for who in (ada, bob, cem):
        await subscribe(house, who)
    await house.call(cem, "inbox.set", conversation=room, muted=True)
    await house.say(ada, room)
    await house.say(ada, room)
    await house.pump()
    due = [tuple(row) for row in await house.rows(select(push_due.c.user, push_due.c.first_seq, push_due.c.last_seq))]
    assert due == [(bob, 1, 2)]
    await house.rooms.push.acknowledged({bob: {room: 1}})
    assert len(await house.rows(select(push_due))) == 1
    await house.rooms.push.acknowledged({bob: {room: 2}})
    assert not await house.rows(select(push_due))


async def test_a_change_of_an_old_message_owes_no_push_and_takes_none_away(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.say(ada, room, "old", mentions=[bob])
    await house.pump()
    await subscribe(house, bob)
    await house.call(ada, "message.react", conversation=room, seq=1, emoji="👍", on=True)
    await house.pump()
    assert not await house.rows(select(push_due))
    await house.say(ada, room, "new")
    await house.call(ada, "message.react", conversation=room, seq=1, emoji="👍", on=False)
    await house.pump()
    await house.call(ada, "message.edit", conversation=room, seq=1, body={"text": "older"})
    await house.rooms.fanout.save()
    await forgetful(house).stored(cold(stored(house)))
    assert [tuple(row) for row in await house.rows(select(push_due.c.user, push_due.c.last_seq))] == [(bob, 2)]


async def subscribe(house: House, who: str) -> None:
    row = {"user": who, "login": "phone", "provider": "log", "address": "{}"}
    await house.database.change(lambda connection: connection.execute(insert(push_address), row))


# --- hot rooms ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def hot(store: Store) -> AsyncIterator[House]:
    """Groups above three members are hot."""
    async with opened(store, fanout=FanoutSettings(hot_members=3)) as house:
        yield house


async def is_hot(house: House, room: str) -> bool:
    return bool((await house.rows(select(conversation.c.hot).where(conversation.c.conversation == room)))[0][0])


async def test_a_large_group_is_hot_and_cools_below_four_fifths_of_the_limit(hot: House) -> None:
    ada, bob, cem, dan = await hot.users("ada", "bob", "cem", "dan")
    room = await hot.group(ada, bob, cem)
    await hot.pump()
    assert not await is_hot(hot, room)
    await hot.call(ada, "group.invite", conversation=room, users=[dan])
    await hot.pump()
    assert await is_hot(hot, room)
    await hot.call(dan, "group.leave", conversation=room)
    await hot.pump()
    assert await is_hot(hot, room), "hysteresis: at the limit it stays hot"
    await hot.call(cem, "group.leave", conversation=room)
    await hot.pump()
    assert not await is_hot(hot, room)


async def test_a_busy_group_is_hot_until_it_has_calmed_down(store: Store) -> None:
    async with opened(store, fanout=FanoutSettings(hot_deliveries=10.0)) as house:
        ada, bob, cem = await house.users("ada", "bob", "cem")
        room = await house.group(ada, bob, cem)
        for _ in range(60):
            await house.say(ada, room)
        await house.pump()
        assert await is_hot(house, room)
        house.clock.advance(60)
        await house.say(ada, room)
        await house.pump()
        assert not await is_hot(house, room)


async def test_in_a_hot_room_no_row_is_written_but_for_who_is_mentioned_by_name(hot: House) -> None:
    ada, bob, cem, dan = await hot.users("ada", "bob", "cem", "dan")
    room = await hot.group(ada, bob, cem, dan)
    await hot.pump()
    for who in (bob, cem):
        await subscribe(hot, who)
    before = dict([tuple(row) for row in await hot.rows(select(version.c.user, version.c.version))])
    hot.delivered.clear()
    await hot.say(ada, room, mentions=[bob])
    await hot.pump()
    after = dict([tuple(row) for row in await hot.rows(select(version.c.user, version.c.version))])
    assert {who for who in after if after[who] != before[who]} == {bob}
    assert [one.users for one in hot.delivered if one.conversation == room] == [None]
    for who, mentioned in ((bob, 1), (cem, None)):
        entry = (await hot.call(who, "inbox.list"))["inbox"][0]
        assert (entry["unread"], entry.get("mentioned")) == (1, mentioned)
    due = [tuple(row) for row in await hot.rows(select(push_due.c.user, push_due.c.last_seq))]
    assert due == [(bob, 1)], "an offline push is owed to who is mentioned"


async def test_a_hidden_hot_room_comes_back_with_its_next_message(hot: House) -> None:
    ada, *others = await hot.users("ada", "bob", "cem", "dan")
    room = await hot.group(ada, *others)
    await hot.say(ada, room)
    await hot.pump()
    hot.clock.advance(1)
    assert (await hot.call(others[0], "inbox.set", conversation=room, hidden=True))["hidden"]
    assert (await hot.call(others[0], "inbox.list"))["inbox"][0]["hidden"]
    hot.clock.advance(1)
    await hot.say(ada, room)
    await hot.pump()
    assert "hidden" not in (await hot.call(others[0], "inbox.list"))["inbox"][0]
