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
