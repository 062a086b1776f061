"""Every right is asked in one place: the same answer for messages, edits, reactions, typing, uploads and presence."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from chat_common import wire
from chat_common.errors import ChatError, NotAMember, NotPermitted
from chat_server.services import Speaker
from chat_server.store import rights
from chat_server.store.account_schema import ban

from tests.chat_server.house import House

Speak = Callable[[House, str, str], Awaitable[Any]]


async def submits(house: House, user: str, room: str) -> Any:
    return await house.say(user, room, "x")


async def reacts(house: House, user: str, room: str) -> Any:
    return await house.call(user, "message.react", conversation=room, seq=1, emoji="👍", on=True)


async def edits(house: House, user: str, room: str) -> Any:
    return await house.call(user, "message.edit", conversation=room, seq=1, body={"text": "y"})


async def sends(house: House, user: str, room: str) -> Any:
    now = house.clock.wall_ms()
    return await house.database.read(lambda connection: rights.may_send(connection, user, room, now))


async def types(house: House, user: str, room: str) -> Any:
    house.clock.advance(4)
    return await house.rooms.im.audience(Speaker(user, room))


WAYS = [submits, reacts, edits, sends, types]


def texts(page: Any) -> dict[int, str]:
    return {message["seq"]: message["body"]["text"] for message in page["messages"]}


async def banned(house: House, user: str, until: int | None) -> None:
    await house.database.change(lambda connection: connection.execute(ban.insert(), {"user": user, "until": until}))


@pytest.mark.parametrize("speak", WAYS)
async def test_a_timed_ban_ends(house: House, speak: Speak) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.say(bob, room)
    await banned(house, bob, house.clock.wall_ms() + 60_000)
    with pytest.raises(NotPermitted, match="banned"):
        await speak(house, bob, room)
    house.clock.advance(61)
    await speak(house, bob, room)


@pytest.mark.parametrize("speak", WAYS)
async def test_a_muted_member_says_nothing_in_any_way(house: House, speak: Speak) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.say(bob, room)
    until = house.clock.wall_ms() + 60_000
    await house.call(ada, "group.mute", conversation=room, user=bob, until=until)
    with pytest.raises(NotPermitted, match="muted"):
        await speak(house, bob, room)
    house.clock.advance(61)
    await speak(house, bob, room)


@pytest.mark.parametrize("speak", WAYS)
async def test_a_muted_group_leaves_every_way_to_owner_and_admins(house: House, speak: Speak) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.say(bob, room)
    await house.call(ada, "group.mute", conversation=room, until=house.clock.wall_ms() + 60_000)
    with pytest.raises(NotPermitted, match="muted"):
        await speak(house, bob, room)
    if speak is not edits:
        await speak(house, ada, room)


@pytest.mark.parametrize("speak", WAYS)
async def test_a_blocked_user_reaches_the_blocker_in_no_way(house: House, speak: Speak) -> None:
    ada, bob = await house.users("ada", "bob")
    room = (await house.call(bob, "direct.open", user=ada))["conversation"]
    await house.say(bob, room)
    await house.call(ada, "contact.block", user=bob, on=True)
    with pytest.raises(NotPermitted, match="does not take messages"):
        await speak(house, bob, room)
    await house.call(ada, "contact.block", user=bob, on=False)
    await speak(house, bob, room)


@pytest.mark.parametrize("speak", WAYS)
async def test_a_member_who_has_left_and_a_stranger_are_told_so(house: House, speak: Speak) -> None:
    ada, bob, eve = await house.users("ada", "bob", "eve")
    room = await house.group(ada, bob)
    await house.say(bob, room)
    await house.call(bob, "group.leave", conversation=room)
    with pytest.raises(NotAMember):
        await speak(house, bob, room)
    with pytest.raises(ChatError) as refused:
        await speak(house, eve, room)
    assert refused.value.code == "not_found"


async def test_presence_is_shown_to_nobody_across_a_block(house: House) -> None:
    ada, bob, cem = await house.users("ada", "bob", "cem")
    await house.group(ada, bob, cem)
    asked, im = {bob: [ada, cem], ada: [bob, cem], cem: [bob, ada]}, house.rooms.im
    assert await im.acquainted(asked) == asked
    await house.call(ada, "contact.block", user=bob, on=True)
    assert await im.acquainted(asked) == {bob: [cem], ada: [cem], cem: [bob, ada]}


async def test_a_typing_note_goes_out_once_in_three_seconds_in_a_conversation(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room, other = await house.group(ada, bob), await house.group(ada, bob)
    im = house.rooms.im
    assert await im.audience(Speaker(bob, room)) == [ada]
    assert await im.audience(Speaker(bob, room)) == []
    assert await im.audience(Speaker(bob, other)) == [ada]
    assert await im.audience(Speaker(ada, room)) == [bob]
    house.clock.advance(3.1)
    assert await im.audience(Speaker(bob, room)) == [ada]


async def test_what_one_who_has_left_reads_ends_when_he_left(house: House) -> None:
    ada, bob, cem = await house.users("ada", "bob", "cem")
    room = await house.group(ada, bob, cem, name="before")
    for number in range(3):
        await house.say(ada, room, f"text {number}")
    await house.call(ada, "message.edit", conversation=room, seq=2, body={"text": "edited before"})
    await house.call(ada, "group.kick", conversation=room, users=[bob])
    await house.pump()
    end = (await house.call(bob, "history", conversation=room))["head"]["rev"]
    before = await house.call(bob, "sync", conversation=room, rev=0, epoch=house.rooms.epoch)

    await house.call(ada, "message.edit", conversation=room, seq=1, body={"text": "secret one"})
    await house.call(ada, "message.edit", conversation=room, seq=2, body={"text": "secret two"})
    await house.call(ada, "message.edit", conversation=room, seq=2, body={"text": "secret three"})
    await house.call(cem, "message.react", conversation=room, seq=3, emoji="👍", on=True)
    await house.call(ada, "group.update", conversation=room, name="secret name", avatar="secret.png")
    await house.pump()

    page = await house.call(bob, "history", conversation=room)
    assert [message["body"]["text"] for message in page["messages"]] == ["text 0", "edited before", "text 2"]
    assert all(message["rev"] <= end and "reactions" not in message for message in page["messages"])
    again = await house.call(bob, "sync", conversation=room, rev=0, epoch=house.rooms.epoch)
    assert again["rev"] == before["rev"] == end
    assert texts(again) == texts(before) == {1: "text 0", 2: "edited before", 3: "text 2"}
    own = next(row for row in (await house.call(bob, "inbox.list"))["inbox"] if row["conversation"] == room)
    assert own["name"] == "before"
    assert "avatar" not in own
    for answer in (page, own, await house.call(bob, "sync", conversation=room, rev=end, epoch=house.rooms.epoch)):
        assert "secret" not in str(answer)
    seen = await house.call(cem, "history", conversation=room)
    assert [message["body"].get("text") for message in seen["messages"][:2]] == ["secret one", "secret three"]


async def test_a_recall_takes_back_what_one_who_has_left_would_read(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.say(ada, room, "regretted")
    await house.call(bob, "group.leave", conversation=room)
    await house.call(ada, "message.edit", conversation=room, seq=1, body={"text": "better"})
    await house.call(ada, "message.recall", conversation=room, seq=1)
    (message,) = (await house.call(bob, "history", conversation=room))["messages"]
    assert "body" not in message
    assert "regretted" not in str(await house.call(bob, "sync", conversation=room, rev=0, epoch=house.rooms.epoch))


def test_every_role_has_its_powers_and_the_owner_all() -> None:
    assert list(rights.POWERS) == list(get_args(wire.Role))
    assert set(get_args(wire.GivenRole)) == set(rights.POWERS) - {"owner"}
    assert rights.POWERS["owner"] == set(get_args(rights.Power))
    assert all(higher > lower for higher, lower in itertools.pairwise(rights.POWERS.values()))


def test_one_outranks_those_below() -> None:
    def standing(role: str) -> rights.Standing:
        return rights.Standing(None, SimpleNamespace(user="ada", role=role), [])

    above = {
        (role, other)
        for role in rights.POWERS
        for other in (*rights.POWERS, "pending")
        if rights.outranks(standing(role), SimpleNamespace(user="bob", role=other))
    }
    by_admin = {("admin", "member"), ("admin", "pending")}
    assert above == by_admin | {("owner", "admin"), ("owner", "member"), ("owner", "pending")}
    assert not rights.has(SimpleNamespace(role="pending"), "speak_in_mute")
