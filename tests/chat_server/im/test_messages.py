"""What may happen to a stored message: how long it can be edited, what its quotes show, what its time is."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_common.errors import Conflict
from chat_server.im import messages
from chat_server.services import Gap
from chat_server.store.leases import Leases
from chat_server.store.schema import message, reply
from sqlalchemy import func, select

from tests.chat_server.house import House, Store, fresh_sqlite, opened


async def test_a_message_can_be_edited_for_a_day(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    await house.say(ada, room, "hi")
    house.clock.advance(86_399)
    await house.call(ada, "message.edit", conversation=room, seq=1, body={"text": "in time"})
    house.clock.advance(2)
    with pytest.raises(Conflict) as refused:
        await house.call(ada, "message.edit", conversation=room, seq=1, body={"text": "too late"})
    assert refused.value.limit == 86_400


async def test_a_recalled_text_stands_in_no_quote_and_in_no_row(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.say(ada, room, "regretted words")
    await house.say(bob, room, "what?", reply_to=1)
    quote = (await house.call(bob, "history", conversation=room))["messages"][1]["reply_to"]
    assert quote == {"seq": 1, "sender": ada, "kind": "text", "text": "regretted words"}
    await house.call(ada, "message.edit", conversation=room, seq=1, body={"text": "edited"})
    assert (await house.call(bob, "history", conversation=room))["messages"][1]["reply_to"]["text"] == "edited"
    await house.call(ada, "message.recall", conversation=room, seq=1)
    for answer in (
        await house.call(bob, "history", conversation=room),
        await house.call(bob, "sync", conversation=room, rev=0, epoch=house.rooms.epoch),
    ):
        quoting = next(one for one in answer["messages"] if one["seq"] == 2)
        assert quoting["reply_to"] == {"seq": 1, "sender": ada, "kind": "recalled", "text": ""}
    (gap,) = [push for push in (await house.rooms.im.gap(Gap(room, 0, 100))).pushes if push.seq == 2]
    assert gap.data.reply_to.kind == "recalled"
    rows = await house.rows(select(message))
    assert not any("regretted" in str(value) for row in rows for value in row)


async def test_a_recalled_text_is_nowhere_in_the_database_file(sqlite_template: Path, tmp_path: Path) -> None:
    with fresh_sqlite(sqlite_template, tmp_path / "data") as store:
        async with opened(store) as house:
            ada = await house.user("ada")
            room = await house.group(ada)
            await house.say(ada, room, "Xylophonregen " * 20)
            await house.say(ada, room, "quoting", reply_to=1)
        assert b"Xylophonregen" in _files(store)
        async with opened(store) as house:
            await house.call(ada, "message.recall", conversation=room, seq=1)
        assert b"Xylophonregen" not in _files(store)


def _files(store: Store) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(store.folder.glob("chat.db*")))


async def test_a_clock_that_was_ahead_for_a_while_dates_no_later_message(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    right = house.clock.wall_ms()
    await house.say(ada, room, "first")
    house.clock.set_wall(right + 20 * 86_400_000)
    ahead = await house.say(ada, room, "ahead")
    house.clock.set_wall(right + 1_000)
    after = await house.say(ada, room, "after")
    assert ahead["time"] == right + 20 * 86_400_000
    assert after["time"] == right + 1_000
    assert [m["seq"] for m in (await house.call(ada, "history", conversation=room))["messages"]] == [1, 2, 3]


async def test_what_is_idempotent_by_itself_keeps_no_reply(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.say(bob, room)
    kept = select(func.count()).select_from(reply)
    before = (await house.rows(kept))[0][0]
    read = await house.call(ada, "read", ref="r1", conversation=room, seq=1)
    assert read == await house.call(ada, "read", ref="r1", conversation=room, seq=1)
    await house.call(ada, "inbox.set", ref="r2", conversation=room, muted=True)
    assert (await house.rows(kept))[0][0] == before


async def test_tidying_goes_on_until_nothing_is_due(house: House) -> None:
    ada = await house.user("ada")
    now = house.clock.wall_ms()
    rows = [{"user": ada, "ref": f"r{n}", "hash": b"", "result": b"{}", "expires_at": now + n} for n in range(3_000)]
    await house.database.change(lambda connection: connection.execute(reply.insert(), rows))
    house.clock.advance(2.5)
    alone, shared = house.rooms.tidying, Leases(house.database, house.clock, "here").of("tidy")
    house.rooms.tidying = shared
    await house.rooms.tidy()
    assert len(await house.rows(select(reply.c.expires_at))) == 3_000, "another server tidies"
    house.rooms.tidying = alone
    await house.rooms.tidy()
    left = await house.rows(select(reply.c.expires_at))
    assert {row.expires_at for row in left} == set(range(now + 2_500, now + 3_000))


async def test_a_message_names_the_first_three_who_reacted(house: House) -> None:
    people = await house.users("ada", "bob", "cem", "dan", "eve")
    room = await house.group(*people)
    await house.say(people[0], room)
    for who in people[:4]:
        house.clock.advance(1)
        await house.call(who, "message.react", conversation=room, seq=1, emoji="👍", on=True)
    await house.call(people[4], "message.react", conversation=room, seq=1, emoji="🎉", on=True)
    await house.call(people[1], "message.react", conversation=room, seq=1, emoji="👍", on=False)
    (message,) = (await house.call(people[4], "history", conversation=room))["messages"]
    first, _, third, fourth, fifth = people
    assert message["reactions"] == [
        {"emoji": "👍", "count": 3, "users": [first, third, fourth]},
        {"emoji": "🎉", "count": 1, "users": [fifth]},
    ]


async def test_reactions_above_a_limit_that_was_lowered_can_be_taken_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    await house.say(ada, room)
    for emoji in ("👍", "🎉", "🚀", "👀"):
        await house.call(ada, "message.react", conversation=room, seq=1, emoji=emoji, on=True)
    monkeypatch.setattr(messages, "EMOJI_PER_MESSAGE", 2)
    with pytest.raises(Conflict) as refused:
        await house.call(ada, "message.react", conversation=room, seq=1, emoji="❤️", on=True)
    assert refused.value.limit == 2
    left = await house.call(ada, "message.react", conversation=room, seq=1, emoji="👍", on=False)
    assert {one["emoji"] for one in left["reactions"]} == {"🎉", "🚀", "👀"}
