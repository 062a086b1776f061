"""One item for a key, one badge for a user, whoever grants how often at once."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from chat_common.errors import Conflict, NotFound
from chat_server.items.service import GrantItem
from chat_server.items.settings import ItemSettings
from chat_server.store.account_schema import audit
from chat_server.store.schema import item, user
from sqlalchemy import func, select

from tests.chat_server.house import House, Store, opened

ON = ItemSettings(enabled=True)


async def pieces(house: House, who: str, name: str) -> int:
    return int((await house.rows(select(func.count()).where(item.c.user == who, item.c.item == name)))[0][0])


@pytest.mark.parametrize("name", ["rename_card", "contributor"])
async def test_a_thousand_grants_of_one_key_from_two_servers_give_one_item(store: Store, name: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        # One process may have SQLite open; PostgreSQL is given by two servers, with connections of their own.
        count = 2 if store.dialect == "postgresql" else 1
        houses = [await stack.enter_async_context(opened(store, items=ON)) for _ in range(count)]
        who = await houses[0].user("ada")

        async def grant(number: int) -> bool:
            return (
                await houses[number % count].rooms.items.grant("test", GrantItem(user=who, item=name, ref="r"))
            ).granted

        granted = await asyncio.gather(*(grant(number) for number in range(1_000)))
        assert sum(granted) == 1
        assert await pieces(houses[0], who, name) == 1
        notes = select(func.count()).where(audit.c.act == "item.grant")
        assert (await houses[0].rows(notes))[0][0] == 1


async def test_a_badge_is_owned_once_whatever_it_is_given_for(house: House) -> None:
    who = await house.user("ada")
    given = await asyncio.gather(
        *(
            house.rooms.items.grant("test", GrantItem(user=who, item="contributor", ref=str(number)))
            for number in range(20)
        )
    )
    assert sum(each.granted for each in given) == 1
    assert len({each.item.key for each in given}) == 1
    assert await pieces(house, who, "contributor") == 1


async def test_cards_under_other_refs_are_other_cards(house: House) -> None:
    who = await house.user("ada")
    for ref in ("a", "b", "a", None, None):
        await house.rooms.items.grant("test", GrantItem(user=who, item="rename_card", ref=ref))
    assert await pieces(house, who, "rename_card") == 4


async def test_a_key_that_was_used_for_another_user_is_a_conflict_and_gives_nothing(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    grants = house.rooms.items.grants
    await house.rooms.executor.apply(lambda tx: grants.grant(tx, ada, "rename_card", "test", "one"))
    with pytest.raises(Conflict):
        await house.rooms.executor.apply(lambda tx: grants.grant(tx, bob, "rename_card", "test", "one"))
    assert await pieces(house, bob, "rename_card") == 0


@pytest.mark.parametrize(("who", "name"), [("nobody", "contributor"), (None, "nothing")])
async def test_what_does_not_exist_is_not_given(house: House, who: str | None, name: str) -> None:
    ada = await house.user("ada")
    with pytest.raises(NotFound):
        await house.rooms.items.grant("test", GrantItem(user=who or ada, item=name))
    assert await house.rows(select(item)) == []


async def test_the_first_badge_is_worn_at_once_and_pushed_with_the_item(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    await house.call(ada, "contact.request", user=bob)
    await house.call(bob, "contact.accept", user=ada)
    start = (await house.call(ada, "sync", epoch=house.rooms.epoch, version=0))["version"]
    await house.pump()
    house.delivered.clear()
    await house.rooms.items.grant("test", GrantItem(user=ada, item="contributor"))
    await house.rooms.items.grant("test", GrantItem(user=ada, item="first_ten"))
    await house.pump()
    mine = [push for push in house.pushed(ada) if push.event == "item"]
    assert sorted({push.data.item for push in mine}) == ["contributor", "first_ten"]
    assert all(push.data.version > start for push in mine)
    synced = await house.call(ada, "sync", epoch=house.rooms.epoch, version=start)
    assert [each["item"] for each in synced["items"]] == ["contributor", "first_ten"]
    assert synced["user"]["badge"] == {
        "item": "contributor",
        "name": "Contributor",
        "names": {"en": "Contributor", "zh": "贡献者"},
    }
    again = await house.call(ada, "sync", epoch=house.rooms.epoch, version=synced["version"])
    assert again["items"] == []
    assert (await house.call(bob, "user.get", users=[ada]))["users"][0]["badge"]["item"] == "contributor"
    contacts = await house.call(bob, "contact.list")
    assert contacts["contacts"][0]["user"]["badge"]["item"] == "contributor"


async def test_many_items_come_by_sync_in_pages_each_once(house: House) -> None:
    ada = await house.user("ada")
    for number in range(25):
        await house.rooms.items.grant("test", GrantItem(user=ada, item="rename_card", ref=str(number)))
    found: list[str] = []
    version, more = 0, True
    while more:
        page = await house.call(ada, "sync", epoch=house.rooms.epoch, version=version, limit=10)
        assert len(page["items"]) <= 10
        found += [each["key"] for each in page["items"]]
        version, more = page["version"], page["more"]
    assert len(found) == len(set(found)) == 25
    newest = await house.rows(select(user.c.items_version).where(user.c.user == ada))
    assert newest[0][0] == version
