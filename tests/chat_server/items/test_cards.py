"""A rename costs a card: both happen, or neither."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from chat_common.errors import Conflict, RateLimited
from chat_server.items.service import GrantItem
from chat_server.items.settings import ItemSettings
from chat_server.logic.settings import GroupSettings, LogicSettings, UserSettings
from chat_server.store.schema import item, user
from sqlalchemy import func, select

from tests.chat_server.house import House, Store, opened

ON = ItemSettings(enabled=True)


async def give(house: House, who: str, count: int) -> None:
    for number in range(count):
        await house.rooms.items.grant("test", GrantItem(user=who, item="rename_card", ref=f"card {number}"))


async def test_one_card_and_fifty_renames_at_once_make_one_new_name(store: Store) -> None:
    async with contextlib.AsyncExitStack() as stack:
        count = 2 if store.dialect == "postgresql" else 1
        houses = [await stack.enter_async_context(opened(store, items=ON)) for _ in range(count)]
        who = await houses[0].user("ada")
        await give(houses[0], who, 1)
        answers = await asyncio.gather(
            *(houses[number % count].call(who, "user.rename", name=f"new {number}") for number in range(50)),
            return_exceptions=True,
        )
        done = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert len(done) == 1
        assert done[0]["cards"] == 0
        assert all(isinstance(answer, Conflict) for answer in answers if isinstance(answer, BaseException))
        names = await houses[0].rows(select(user.c.name).where(user.c.user == who))
        assert names[0].name == done[0]["user"]["name"]
        spent = await houses[0].rows(select(func.count()).where(item.c.spent_at.is_not(None)))
        assert spent[0][0] == 1


async def test_the_same_ref_again_gets_the_same_answer_for_one_card(house: House) -> None:
    who = await house.user("ada")
    await give(house, who, 2)
    first = await house.call(who, "user.rename", ref="once", name="eve")
    assert first["cards"] == 1
    assert await house.call(who, "user.rename", ref="once", name="eve") == first
    rows = await house.rows(select(item.c.spent_on).where(item.c.spent_at.is_not(None)))
    assert [row.spent_on for row in rows] == ["once"]
    mine = (await house.call(who, "item.list"))["items"]
    assert sorted("spent_at" in each for each in mine) == [False, True]


async def test_the_name_that_one_has_costs_nothing(house: House) -> None:
    who = await house.user("ada")
    await give(house, who, 1)
    assert (await house.call(who, "user.rename", name="ada"))["cards"] == 1


async def test_a_rename_that_is_refused_leaves_the_card(store: Store) -> None:
    logic = LogicSettings(GroupSettings(), UserSettings(renames=1))
    async with opened(store, items=ON, logic=logic) as house:
        who = await house.user("ada")
        await give(house, who, 2)
        await house.call(who, "user.rename", name="eve")
        with pytest.raises(RateLimited):
            await house.call(who, "user.rename", name="kim")
        assert (await house.call(who, "user.rename", name="eve"))["cards"] == 1


@pytest.mark.parametrize("settings", [ItemSettings(), ItemSettings(enabled=True, free_renames=True)])
async def test_where_renames_are_free_no_card_is_needed_or_told(store: Store, settings: ItemSettings) -> None:
    async with opened(store, items=settings) as house:
        who = await house.user("ada")
        renamed = await house.call(who, "user.rename", name="eve")
        assert renamed["user"]["name"] == "eve"
        assert "cards" not in renamed
