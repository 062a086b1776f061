"""Names: who is found by them, how often they change, and how a change reaches all rows without stopping others."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from chat_common.errors import Invalid, RateLimited
from chat_server.logic import search
from chat_server.logic.settings import GroupSettings, LogicSettings, UserSettings
from chat_server.store.schema import member, name_part, restamp, user
from chat_server.store.tx import Tx
from sqlalchemy import delete, select

from tests.chat_server.house import House, Store, opened


@contextlib.asynccontextmanager
async def with_directory(store: Store, directory: Any) -> AsyncIterator[House]:
    async with opened(store, logic=LogicSettings(GroupSettings(), UserSettings(directory=directory))) as house:
        yield house


async def found(house: House, who: str, query: str | None) -> list[str]:
    page = await house.call(who, "user.search", query=query)
    return [one["name"] for one in page["users"]]


async def test_users_are_found_from_each_word_and_without_accents(house: House) -> None:
    me, *_ = await house.users("Ada Love", "José María", "王小明", "Maria Nova", "Zed")
    assert await found(house, me, "mar") == ["José María", "Maria Nova"]
    assert await found(house, me, "jose m") == ["José María"]
    assert await found(house, me, "MARÍA") == ["José María", "Maria Nova"]
    assert await found(house, me, "小明") == ["王小明"]
    assert await found(house, me, "明") == ["王小明"]
    assert await found(house, me, "ove") == []
    assert [one["name"] for one in (await house.call(me, "user.search", query=me))["users"]] == ["Ada Love"]


@pytest.mark.parametrize("query", ["a", "é", " ", "%", None])
async def test_a_search_that_lists_everybody_is_refused(house: House, query: str | None) -> None:
    me = await house.user("ada")
    with pytest.raises(Invalid) as refused:
        await house.call(me, "user.search", query=query)
    assert refused.value.field == "query"


async def test_twenty_a_page_each_user_once(house: House) -> None:
    me, *_ = await house.users(*(f"anna anders {number:02}" for number in range(45)))
    names, cursor = [], None
    while True:
        page = await house.call(me, "user.search", query="an", limit=100, cursor=cursor)
        assert len(page["users"]) <= 20
        names += [one["name"] for one in page["users"]]
        cursor = page.get("cursor")
        if cursor is None:
            break
    assert names == [f"anna anders {number:02}" for number in range(45)]


async def test_a_directory_of_contacts_finds_others_by_the_exact_handle_alone(store: Store) -> None:
    async with with_directory(store, "contacts") as house:
        ada, bob, eve = await house.users("ada", "bob miller", "eve miller")
        await house.call(ada, "contact.request", user=bob)
        await house.call(bob, "contact.accept", user=ada)
        assert await found(house, ada, "mil") == ["bob miller"]
        assert await found(house, ada, "Eve Miller") == []
        assert await found(house, ada, "eve.mille") == []
        assert await found(house, ada, "eve.miller") == await found(house, ada, "@Eve.Miller") == ["eve miller"]
        assert await found(house, ada, eve) == ["eve miller"]


async def test_an_open_directory_lists_everybody(store: Store) -> None:
    async with with_directory(store, "open") as house:
        ada, *_ = await house.users("ada", "bob", "cem")
        assert await found(house, ada, None) == ["ada", "bob", "cem"]
        assert await found(house, ada, "b") == ["bob"]


async def test_names_from_before_the_index_are_found_once_it_is_made(house: House) -> None:
    me, *_ = await house.users(*(f"old name {number}" for number in range(250)))
    await house.database.change(lambda connection: connection.execute(delete(name_part)))
    assert await found(house, me, "name 24") == []
    assert await house.database.change(search.index_names) == 200
    assert await house.database.change(search.index_names) == 50
    assert await house.database.change(search.index_names) == 0
    assert len(await found(house, me, "name 24")) == 11


async def test_a_new_name_is_found_and_the_old_one_is_not(house: House) -> None:
    ada, bob = await house.users("ada", "bob miller")
    await house.call(bob, "user.rename", name="Robert")
    assert await found(house, ada, "rob") == ["Robert"]
    assert await found(house, ada, "mil") == []
    assert await found(house, ada, "@bob.") == ["Robert"], "the login name stays"


async def test_a_name_changes_five_times_a_day(store: Store) -> None:
    async with with_directory(store, "search") as house:
        ada = await house.user("ada")
        for number in range(5):
            await house.call(ada, "user.rename", name=f"name {number}")
        await house.call(ada, "user.rename", name="name 4")  # nothing to change, nothing counted
        with pytest.raises(RateLimited) as refused:
            await house.call(ada, "user.rename", name="name 5")
        assert refused.value.limit == 5
        assert refused.value.retry_after is not None
        house.clock.advance(refused.value.retry_after)
        await house.call(ada, "user.rename", name="name 5")


async def test_a_rename_is_stamped_in_portions_of_two_hundred_rows(house: House, monkeypatch: Any) -> None:
    ada, bob = await house.users("ada", "bob")
    rooms = [await house.group(ada, bob) for _ in range(230)]
    for number in range(30):
        other = await house.user(f"other {number}")
        chat = (await house.call(ada, "direct.open", user=other))["conversation"]
        await house.say(ada, chat)
        await house.call(ada, "contact.request", user=other)
    await house.pump()
    before = {row.conversation: row.rev for row in await house.rows(select(member).where(member.c.user == ada))}

    stamped: list[int] = []
    finish = Tx.finish

    def counting(tx: Tx) -> None:
        stamped.append(sum(len(room.pushes) for room in tx.rooms.values()) + sum(map(len, tx.touched.values())))
        finish(tx)

    monkeypatch.setattr(Tx, "finish", counting)
    await house.call(ada, "user.rename", name="Ada Neu")
    assert stamped == [1], "the change itself stamps the own profile alone"
    await house.rooms.logic.restamping.finish()
    assert max(stamped) <= 200
    assert len(stamped) >= 4
    after = {row.conversation: row.rev for row in await house.rows(select(member).where(member.c.user == ada))}
    assert all(after[name] > before[name] for name in after)
    assert await house.rows(select(restamp)) == []
    page = await house.call(bob, "group.members", conversation=rooms[0])
    assert "Ada Neu" in {one["user"]["name"] for one in page["members"]}


async def test_stamping_goes_on_where_it_had_come_to(house: House) -> None:
    ada = await house.user("ada")
    for _ in range(120):
        await house.group(ada)
    await house.call(ada, "user.rename", name="Neu")
    executor, restamping = house.rooms.executor, house.rooms.logic.restamping
    from chat_server.logic.restamping import portion

    assert await executor.apply(lambda tx: portion(tx, ada))
    assert await executor.apply(lambda tx: portion(tx, ada))
    (noted,) = await house.rows(select(restamp))
    assert (noted.step, bool(noted.after)) == ("rooms", True)
    await restamping.finish()
    assert await house.rows(select(restamp)) == []
    assert (await house.rows(select(user.c.name)))[0].name == "Neu"
