"""Contacts and names: both sides see the same friendship; who is blocked is not told, and tells nothing."""

from __future__ import annotations

from typing import Any

import pytest
from chat_common.errors import Conflict, Invalid, NotFound

from tests.chat_server.house import House


async def contacts(house: House, who: str) -> dict[str, tuple[str, bool]]:
    page = await house.call(who, "contact.list")
    return {one["user"]["user"]: (one["state"], one.get("blocked", False)) for one in page["contacts"]}


async def test_asked_and_accepted_makes_friends_of_both(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    assert await house.call(ada, "contact.request", user=bob, text="hi") == {"state": "asked"}
    asked = (await house.call(bob, "contact.list"))["contacts"][0]
    assert (asked["user"]["user"], asked["text"], asked["asked_by"]) == (ada, "hi", ada)
    with pytest.raises(Conflict):
        await house.call(ada, "contact.accept", user=bob)
    assert await house.call(bob, "contact.accept", user=ada) == {"state": "friends"}
    assert await contacts(house, ada) == {bob: ("friends", False)}
    assert await contacts(house, bob) == {ada: ("friends", False)}
    assert await house.call(ada, "contact.request", user=bob) == {"state": "friends"}


async def test_crossing_requests_make_friends(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    await house.call(ada, "contact.request", user=bob)
    assert await house.call(bob, "contact.request", user=ada) == {"state": "friends"}
    assert await contacts(house, ada) == {bob: ("friends", False)}


async def test_requests_cross_also_when_the_first_met_a_block_that_is_over(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    await house.call(bob, "contact.block", user=ada, on=True)
    await house.call(ada, "contact.request", user=bob)
    await house.call(bob, "contact.block", user=ada, on=False)
    assert await house.call(bob, "contact.request", user=ada) == {"state": "friends"}
    assert await contacts(house, ada) == {bob: ("friends", False)}


async def test_who_has_blocked_hears_nothing_of_a_request_nor_of_its_end(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    await house.call(bob, "contact.block", user=ada, on=True)
    version = (await house.call(bob, "inbox.list"))["version"]
    assert await house.call(ada, "contact.request", user=bob) == {"state": "asked"}
    assert await house.call(ada, "contact.reject", user=bob) == {"state": "none"}
    assert (await house.call(bob, "inbox.list"))["version"] == version
    assert await contacts(house, bob) == {ada: ("none", True)}
    assert await contacts(house, ada) == {}


async def test_a_block_holds_for_a_direct_chat_opened_before_or_after(house: House) -> None:
    from chat_common.errors import NotPermitted

    ada, bob, cem = await house.users("ada", "bob", "cem")
    chat = (await house.call(ada, "direct.open", user=bob))["conversation"]
    for other in (bob, cem):
        await house.call(ada, "contact.block", user=other, on=True)
    late = (await house.call(cem, "direct.open", user=ada))["conversation"]
    for who, name in ((bob, chat), (cem, late)):
        with pytest.raises(NotPermitted):
            await house.say(who, name)
        await house.say(ada, name)


async def test_a_friendship_ends_for_both_and_can_begin_again(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    await house.call(ada, "contact.request", user=bob)
    await house.call(bob, "contact.accept", user=ada)
    with pytest.raises(Conflict):
        await house.call(ada, "contact.reject", user=bob)
    await house.call(ada, "contact.remove", user=bob)
    assert await contacts(house, ada) == await contacts(house, bob) == {}
    assert await house.call(ada, "contact.remove", user=bob) == {"state": "none"}
    assert await house.call(bob, "contact.request", user=ada) == {"state": "asked"}


async def test_nobody_asks_or_blocks_oneself_or_nobody(house: House) -> None:
    ada = await house.user("ada")
    calls: list[tuple[str, dict[str, Any]]] = [("contact.request", {}), ("contact.block", {"on": True})]
    for command, params in calls:
        with pytest.raises(Invalid):
            await house.call(ada, command, user=ada, **params)
        with pytest.raises(NotFound):
            await house.call(ada, command, user="nobody", **params)


async def test_a_new_name_is_seen_by_friends_and_by_who_shares_a_conversation(house: House) -> None:
    ada, bob, cem = await house.users("ada", "bob", "cem")
    room = await house.group(ada, cem)
    await house.call(ada, "contact.request", user=bob)
    await house.call(bob, "contact.accept", user=ada)
    await house.pump()
    held = {who: (await house.call(who, "inbox.list"))["version"] for who in (ada, bob, cem)}
    rev = (await house.call(cem, "history", conversation=room))["head"]["rev"]
    await house.call(ada, "user.rename", name="Ada Lovelace")
    await house.pump()
    page = {who: await house.call(who, "sync", epoch=house.rooms.epoch, version=held[who]) for who in held}
    assert page[ada]["user"]["name"] == "Ada Lovelace"
    assert page[bob]["contacts"][0]["user"]["name"] == "Ada Lovelace"
    changed = await house.call(cem, "sync", epoch=house.rooms.epoch, conversation=room, rev=rev)
    assert [one["user"]["name"] for one in changed["members"]] == ["Ada Lovelace"]
    assert (await house.call(cem, "user.search", query="ada l"))["users"][0]["user"] == ada
