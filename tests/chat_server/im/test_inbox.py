"""Rows of the list that are asked for by name."""

from __future__ import annotations

from typing import Any

import pytest
from chat_common.errors import Invalid

from tests.chat_server.house import House


async def test_rows_by_name_are_one_s_own_alone_and_the_latest_comes_first(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    ours = await house.group(ada, bob)
    left = await house.group(ada, bob)
    later = await house.group(ada, bob)
    foreign = await house.group(ada)
    untouched = (await house.call(ada, "direct.open", user=bob))["conversation"]
    await house.call(bob, "group.leave", conversation=left)
    await house.say(ada, later)
    page = await house.call(bob, "inbox.list", conversations=[ours, left, foreign, "nowhere", untouched, later, ours])
    whole = await house.call(bob, "inbox.list")
    assert page == whole, "the same rows, in the same order, with the same numbers"
    assert {row["conversation"] for row in page["inbox"]} == {ours, left, later}


async def test_rows_by_name_are_bounded_and_go_without_pages(house: House) -> None:
    ada = await house.user("ada")
    asked: list[dict[str, Any]] = [
        {"conversations": []},
        {"conversations": ["c"] * 101},
        {"conversations": ["c"], "limit": 5},
        {"conversations": ["c"], "cursor": "x"},
    ]
    for params in asked:
        with pytest.raises(Invalid) as refused:
            await house.call(ada, "inbox.list", **params)
        assert refused.value.field == "conversations", params


async def test_what_is_marked_as_unread_stays_so_until_it_is_read(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.say(bob, room)
    await house.pump()
    await house.call(ada, "read", conversation=room, seq=1)
    version = (await house.call(ada, "inbox.list"))["version"]
    marked = await house.call(ada, "inbox.set", conversation=room, unread=True)
    assert (marked["marked_unread"], marked["unread"], marked["read"]) == (True, 0, 1)
    page = await house.call(ada, "sync", epoch=house.rooms.epoch, version=version)
    assert page["inbox"] == [marked], "the other devices are told"
    assert "marked_unread" not in (await house.call(bob, "inbox.list", conversations=[room]))["inbox"][0]
    await house.call(ada, "read", conversation=room, seq=1)
    assert "marked_unread" not in (await house.call(ada, "inbox.list", conversations=[room]))["inbox"][0]
