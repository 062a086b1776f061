"""Groups: who may what, what a repeated call does, and what the owner has to do before leaving."""

from __future__ import annotations

from typing import Any

import pytest
from chat_common.errors import ChatError, Conflict, Invalid, NotAMember, NotFound, NotPermitted, RefConflict

from tests.chat_server.house import House


async def crew(house: House) -> tuple[str, str, str, str, str]:
    """A group of ada (owner), bob (admin) and cem; dan stands outside."""
    ada, bob, cem, dan = await house.users("ada", "bob", "cem", "dan")
    room = await house.group(ada, bob, cem)
    await house.call(ada, "group.role", conversation=room, user=bob, role="admin")
    return ada, bob, cem, dan, room


async def roles(house: House, who: str, room: str) -> dict[str, str]:
    page = await house.call(who, "group.members", conversation=room)
    return {one["user"]["user"]: one["role"] for one in page["members"]}


async def test_rights_by_office(house: House) -> None:
    ada, bob, cem, dan, room = await crew(house)
    allowed: list[tuple[str, dict[str, Any], set[str]]] = [
        ("group.update", {"name": "new"}, {ada, bob}),
        ("group.link", {"on": True}, {ada, bob}),
        ("group.mute", {"until": 0}, {ada, bob}),
        ("group.mute", {"user": cem, "until": 0}, {ada, bob}),
        ("group.mute", {"user": bob, "until": 0}, {ada}),
        ("group.mute", {"user": ada, "until": 0}, set()),
        ("group.role", {"user": cem, "role": "member"}, {ada}),
        ("group.invite", {"users": [dan]}, {ada, bob, cem}),
        ("group.get", {}, {ada, bob, cem}),
        ("group.members", {}, {ada, bob, cem}),
        ("group.transfer", {"user": ada}, {ada}),
        ("group.kick", {"users": [dan]}, {ada, bob}),
    ]
    for command, params, who in allowed:
        for caller in (ada, bob, cem):
            try:
                await house.call(caller, command, conversation=room, **params)
            except NotPermitted:
                assert caller not in who, (command, params)
            else:
                assert caller in who, (command, params)


async def test_an_admin_puts_out_plain_members_alone(house: House) -> None:
    ada, bob, cem, dan, room = await crew(house)
    outcome = await house.call(bob, "group.kick", conversation=room, users=[ada, bob, cem, dan, "nobody", cem])
    assert outcome["done"] == [cem]
    assert outcome["refused"] == [
        {"user": ada, "code": "not_permitted"},
        {"user": bob, "code": "not_permitted"},
        {"user": dan, "code": "not_found"},
        {"user": "nobody", "code": "not_found"},
    ]
    assert set(await roles(house, ada, room)) == {ada, bob}
    head = (await house.call(ada, "history", conversation=room))["head"]
    assert (await house.call(bob, "group.kick", conversation=room, users=[cem]))["done"] == [cem]
    assert (await house.call(ada, "history", conversation=room))["head"] == head, "repeated: no change"


async def test_inviting_tells_done_from_refused_and_changes_nothing_twice(house: House) -> None:
    ada, bob, cem, dan, room = await crew(house)
    eve = await house.user("eve")
    await house.call(eve, "contact.block", user=ada, on=True)
    outcome = await house.call(ada, "group.invite", conversation=room, users=[bob, dan, "nobody", eve, dan])
    assert outcome["done"] == [bob, dan]
    assert {one["user"]: one["code"] for one in outcome["refused"]} == {"nobody": "not_found", eve: "not_permitted"}
    head = (await house.call(ada, "history", conversation=room))["head"]
    assert (await house.call(ada, "group.invite", conversation=room, users=[dan]))["done"] == [dan]
    assert (await house.call(ada, "history", conversation=room))["head"] == head
    assert (await house.call(ada, "group.get", conversation=room))["members"] == 4
    assert set(await roles(house, cem, room)) == {ada, bob, cem, dan}


async def test_lists_of_users_hold_at_most_two_hundred(house: House) -> None:
    ada = await house.user("ada")
    others = [await house.user(f"u{i}") for i in range(200)]
    room = await house.group(ada, *others)
    assert (await house.call(ada, "group.get", conversation=room))["members"] == 201
    for command in ("group.invite", "group.kick"):
        with pytest.raises(Invalid) as refused:
            await house.call(ada, command, conversation=room, users=[*others, "one-more"])
        assert (refused.value.field, refused.value.limit) == ("users", 200)
    with pytest.raises(Invalid) as refused:
        await house.group(ada, *others, "one-more")
    assert (refused.value.field, refused.value.limit) == ("members", 200)


async def test_a_group_with_somebody_unknown_is_not_made(house: House) -> None:
    ada = await house.user("ada")
    with pytest.raises(NotFound):
        await house.group(ada, "nobody")
    assert not (await house.call(ada, "inbox.list"))["inbox"]


async def test_the_owner_hands_over_or_ends_the_group_before_leaving(house: House) -> None:
    ada, bob, cem, _, room = await crew(house)
    with pytest.raises(Conflict):
        await house.call(ada, "group.leave", conversation=room)
    await house.call(ada, "group.transfer", conversation=room, user=cem)
    assert await roles(house, cem, room) == {ada: "admin", bob: "admin", cem: "owner"}
    await house.call(ada, "group.leave", conversation=room)
    with pytest.raises(NotAMember):
        await house.call(ada, "group.leave", conversation=room)
    with pytest.raises(NotFound):
        await house.call(cem, "group.transfer", conversation=room, user=ada)


async def test_a_dissolved_group_stays_readable_and_takes_nothing_more(house: House) -> None:
    ada, bob, _, dan, room = await crew(house)
    link = (await house.call(ada, "group.link", conversation=room, on=True))["link"]
    await house.say(bob, room, "last words")
    await house.call(ada, "group.dissolve", conversation=room)
    for who in (ada, bob):
        page = await house.call(who, "history", conversation=room)
        assert page["messages"][-1]["body"]["event"] == "group.dissolved"
        assert page["messages"][-2]["body"]["text"] == "last words"
        with pytest.raises(NotAMember):
            await house.say(who, room)
    with pytest.raises(NotFound):
        await house.call(dan, "group.join", link=link)


async def test_coming_back_opens_a_second_interval(house: House) -> None:
    ada, _, cem, _, room = await crew(house)
    first = (await house.call(cem, "history", conversation=room))["head"]["seq"]
    await house.call(cem, "group.leave", conversation=room)
    await house.say(ada, room)
    await house.call(ada, "group.invite", conversation=room, users=[cem])
    entry = (await house.call(cem, "inbox.list"))["inbox"][0]
    assert entry["spans"] == [[1, first], [first + 3]]
    assert "left" not in entry


async def test_a_link_lets_in_until_it_is_ended_or_replaced(house: House) -> None:
    ada, _, _, dan, room = await crew(house)
    eve = await house.user("eve")
    old = (await house.call(ada, "group.link", conversation=room, on=True))["link"]
    new = (await house.call(ada, "group.link", conversation=room, on=True))["link"]
    with pytest.raises(NotFound):
        await house.call(dan, "group.join", link=old)
    joined = await house.call(dan, "group.join", link=new)
    assert joined["conversation"] == room
    assert (await house.call(dan, "group.join", link=new))["spans"] == joined["spans"]
    await house.call(ada, "group.link", conversation=room, on=False)
    with pytest.raises(NotFound):
        await house.call(eve, "group.join", link=new)


async def test_a_repeated_ref_changes_nothing_and_gives_the_first_reply(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    calls: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("group.create", {"name": "one", "members": [bob]}, {"name": "two", "members": [bob]}),
        ("user.rename", {"name": "lovelace"}, {"name": "other"}),
        ("contact.request", {"user": bob, "text": "hi"}, {"user": bob, "text": "hello"}),
        ("direct.open", {"user": bob}, {"user": ada}),
    ]
    for command, params, others in calls:
        first = await house.call(ada, command, ref=command, **params)
        version = (await house.call(ada, "inbox.list"))["version"]
        assert await house.call(ada, command, ref=command, **params) == first
        assert (await house.call(ada, "inbox.list"))["version"] == version
        with pytest.raises(RefConflict):
            await house.call(ada, command, ref=command, **others)
    with pytest.raises(RefConflict):
        await house.call(ada, "user.rename", ref="group.create", name="x")


async def test_groups_commands_are_refused_in_a_direct_chat(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    chat = (await house.call(ada, "direct.open", user=bob))["conversation"]
    calls: list[tuple[str, dict[str, Any]]] = [
        ("group.leave", {}),
        ("group.invite", {"users": [bob]}),
        ("group.kick", {"users": [bob]}),
        ("group.update", {"name": "x"}),
        ("group.dissolve", {}),
        ("group.transfer", {"user": bob}),
        ("group.role", {"user": bob, "role": "admin"}),
        ("group.mute", {"until": 0}),
        ("group.link", {"on": True}),
    ]
    for command, params in calls:
        with pytest.raises(ChatError) as refused:
            await house.call(ada, command, conversation=chat, **params)
        assert refused.value.code == "conflict", command


async def test_members_are_found_by_a_part_of_their_name_page_by_page(house: House) -> None:
    names = ["Ada Lovelace", "Bob Lee", "李雷", "Leo 100%", "Cem"]
    ids = dict(zip(names, await house.users(*names), strict=True))
    room = await house.group(*ids.values())
    await house.call(ids["Ada Lovelace"], "group.kick", conversation=room, users=[ids["Cem"]])

    async def found(query: str, **more: Any) -> tuple[set[str], str | None]:
        page = await house.call(ids["Bob Lee"], "group.members", conversation=room, query=query, **more)
        return {one["user"]["name"] for one in page["members"]}, page.get("cursor")

    assert await found("LE") == ({"Bob Lee", "Leo 100%"}, None)
    assert await found("lo") == ({"Ada Lovelace"}, None)
    assert await found("雷") == ({"李雷"}, None)
    assert await found("100%") == ({"Leo 100%"}, None)
    assert await found("%") == ({"Leo 100%"}, None)  # no sign of a pattern
    assert await found("cem") == (set(), None)  # put out
    first, cursor = await found("le", limit=1)
    assert cursor is not None
    second, end = await found("le", limit=1, cursor=cursor)
    assert first | second == {"Bob Lee", "Leo 100%"}
    assert end is None


async def test_a_group_may_be_for_everyone_but_not_pass_for_the_operators(house: House) -> None:
    ada, _, _, _, room = await crew(house)
    for name in ("all", "Everyone", "here"):
        made = await house.call(ada, "group.create", name=name, members=[])
        assert made["name"] == name
        await house.call(ada, "group.update", conversation=room, name=name)
    for name in ("Support", "adrnin"):
        with pytest.raises(Invalid) as refused:
            await house.call(ada, "group.create", name=name, members=[])
        assert refused.value.reason == "reserved"
        with pytest.raises(Invalid) as refused:
            await house.call(ada, "group.update", conversation=room, name=name)
        assert refused.value.reason == "reserved"
    with pytest.raises(Invalid):
        await house.call(ada, "user.rename", name="Everyone")
