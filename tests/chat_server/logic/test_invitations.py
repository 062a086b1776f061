"""Strangers are asked before they are in a group; who was put out does not come straight back; who may invite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from chat_common.errors import Conflict, NotFound, NotPermitted
from chat_server.logic.settings import GroupSettings, LogicSettings

from tests.chat_server.house import House, Store, opened


@pytest.fixture
async def asking(store: Store) -> AsyncIterator[House]:
    """A house with the settings that a server has by itself, but small limits."""
    async with opened(store, logic=LogicSettings(GroupSettings(owned=3, joined=4))) as house:
        yield house


async def entry(house: House, user: str, room: str) -> dict[str, Any]:
    rows = (await house.call(user, "inbox.list"))["inbox"]
    return next((row for row in rows if row["conversation"] == room), {})


async def friends(house: House, one: str, other: str) -> None:
    await house.call(one, "contact.request", user=other)
    await house.call(other, "contact.accept", user=one)


async def test_a_stranger_is_asked_and_sees_nothing_until_he_accepts(asking: House) -> None:
    ada, bob, cem = await asking.users("ada", "bob", "cem")
    await friends(asking, ada, bob)
    room = await asking.group(ada, bob, cem, name="club")
    await asking.say(ada, room, "secret")
    assert [one["user"]["user"] for one in (await asking.call(bob, "group.members", conversation=room))["members"]] == (
        sorted([ada, bob])
    )
    row = await entry(asking, cem, room)
    assert row["pending"] is True
    assert row["invited_by"]["user"] == ada
    assert row["name"] == "club"
    assert "preview" not in row["head"]
    assert row["unread"] == 0
    for command, params in [
        ("history", {}),
        ("sync", {"epoch": asking.rooms.epoch, "rev": 0}),
        ("group.members", {}),
        ("group.get", {}),
        ("submit", {"kind": "text", "body": {"text": "x"}}),
        ("read", {"seq": 1}),
        ("inbox.set", {"muted": True}),
    ]:
        with pytest.raises(NotFound):
            await asking.call(cem, command, conversation=room, **params)
    assert await asking.rooms.im.acquainted({ada: [bob, cem]}) == {ada: [bob]}
    await asking.pump()
    asking.delivered.clear()
    await asking.say(ada, room, "another secret")
    await asking.pump()
    assert asking.pushed(cem) == []

    accepted = await asking.call(cem, "group.accept", conversation=room)
    assert "pending" not in accepted
    assert accepted["first_seq"] == 3
    assert accepted == await asking.call(cem, "group.accept", conversation=room)
    assert [m["kind"] for m in (await asking.call(cem, "history", conversation=room))["messages"]] == ["system"]
    assert await asking.rooms.im.acquainted({ada: [cem]}) == {ada: [cem]}


async def test_the_question_is_pushed_to_the_asked_and_its_answer_too(asking: House) -> None:
    ada, cem = await asking.users("ada", "cem")
    room = await asking.group(ada, cem)
    await asking.pump()
    assert [(push.event, push.data.pending) for push in asking.pushed(cem)] == [("inbox", True)]
    asking.delivered.clear()
    await asking.call(cem, "group.reject", conversation=room)
    await asking.pump()
    (push,) = asking.pushed(cem)
    assert (push.event, push.data.hidden, push.data.left) == ("inbox", True, True)
    with pytest.raises(NotFound):
        await asking.call(cem, "group.accept", conversation=room)
    outcome = await asking.call(ada, "group.invite", conversation=room, users=[cem])
    assert (outcome["done"], outcome["pending"]) == ([], [cem])
    await asking.call(cem, "group.accept", conversation=room)


@pytest.mark.parametrize("ending", ["group.dissolve", "group.kick"])
async def test_an_invitation_ends_with_its_group_or_by_its_owner(asking: House, ending: str) -> None:
    ada, cem = await asking.users("ada", "cem")
    room = await asking.group(ada, cem)
    params = {"users": [cem]} if ending == "group.kick" else {}
    await asking.call(ada, ending, conversation=room, **params)
    assert (await entry(asking, cem, room))["hidden"] is True
    with pytest.raises(NotFound):
        await asking.call(cem, "group.accept", conversation=room)


async def test_to_open_a_direct_chat_makes_nobody_known(asking: House) -> None:
    ada, bob = await asking.users("ada", "bob")
    chat = (await asking.call(ada, "direct.open", user=bob))["conversation"]
    await asking.say(ada, chat)
    assert await asking.rooms.im.acquainted({ada: [bob]}) == {ada: []}
    room = await asking.group(ada, bob)
    assert (await entry(asking, bob, room))["pending"] is True
    await asking.say(bob, chat, "hello")
    assert await asking.rooms.im.acquainted({ada: [bob]}) == {ada: [bob]}
    other = await asking.group(ada, bob)
    assert "pending" not in await entry(asking, bob, other)


async def test_a_blocked_user_pulls_the_blocker_into_no_group(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    await house.call(ada, "contact.block", user=bob, on=True)
    with pytest.raises(NotPermitted):
        await house.group(bob, ada)
    assert (await house.call(ada, "inbox.list"))["inbox"] == []


async def test_who_was_put_out_comes_back_by_an_owner_or_admin_alone(house: House) -> None:
    ada, bob, cem = await house.users("ada", "bob", "cem")
    room = await house.group(ada, bob, cem)
    link = (await house.call(ada, "group.link", conversation=room, on=True))["link"]
    await house.call(ada, "group.kick", conversation=room, users=[bob])
    with pytest.raises(NotFound):
        await house.call(bob, "group.join", link=link)
    fresh = (await house.call(ada, "group.link", conversation=room, on=True))["link"]
    with pytest.raises(NotPermitted, match="put out"):
        await house.call(bob, "group.join", link=fresh)
    refused = await house.call(cem, "group.invite", conversation=room, users=[bob])
    assert refused["refused"] == [{"user": bob, "code": "not_permitted"}]
    assert (await house.call(ada, "group.invite", conversation=room, users=[bob]))["done"] == [bob]
    await house.call(bob, "group.leave", conversation=room)
    await house.call(bob, "group.join", link=fresh)  # who leaves by himself is not barred


async def test_who_may_invite_is_a_setting_of_the_group(house: House) -> None:
    ada, bob, cem, dan = await house.users("ada", "bob", "cem", "dan")
    room = await house.group(ada, bob)
    assert (await house.call(bob, "group.invite", conversation=room, users=[cem]))["done"] == [cem]
    changed = await house.call(ada, "group.update", conversation=room, invites="admins")
    assert changed["invites"] == "admins"
    with pytest.raises(NotPermitted):
        await house.call(bob, "group.invite", conversation=room, users=[dan])
    assert (await house.call(ada, "group.invite", conversation=room, users=[dan]))["done"] == [dan]
    with pytest.raises(NotPermitted):
        await house.call(bob, "group.update", conversation=room, invites="members")
    assert "invites" not in await house.call(ada, "group.update", conversation=room, invites="members")


async def test_groups_owned_and_joined_are_bounded(asking: House) -> None:
    ada, bob = await asking.users("ada", "bob")
    await friends(asking, ada, bob)
    rooms = [await asking.group(ada) for _ in range(3)]
    with pytest.raises(Conflict) as refused:
        await asking.group(ada)
    assert refused.value.limit == 3
    mine = await asking.group(bob, ada)
    with pytest.raises(Conflict):
        await asking.call(bob, "group.transfer", conversation=mine, user=ada)
    other = await asking.group(bob)
    link = (await asking.call(bob, "group.link", conversation=other, on=True))["link"]
    with pytest.raises(Conflict):
        await asking.call(ada, "group.join", link=link)
    assert (await asking.call(bob, "group.invite", conversation=other, users=[ada]))["refused"] == [
        {"user": ada, "code": "conflict"}
    ]
    await asking.call(ada, "group.dissolve", conversation=rooms[0])
    await asking.call(ada, "group.join", link=link)
