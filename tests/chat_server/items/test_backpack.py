"""What one has, and what one wears of it."""

from __future__ import annotations

import pytest
from chat_common.errors import NotFound, Unavailable
from chat_server.admin.deletion import DeleteUser
from chat_server.items.service import GrantItem
from chat_server.items.settings import ItemSettings
from chat_server.store.schema import item
from sqlalchemy import select

from tests.chat_server.house import House, Store, opened


async def test_a_backpack_is_listed_in_pages_newest_first_and_is_ones_own(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    for number in range(7):
        await house.rooms.items.grant("test", GrantItem(user=ada, item="rename_card", ref=str(number)))
    await house.rooms.items.grant("test", GrantItem(user=bob, item="contributor"))
    found, cursor = [], None
    while True:
        page = await house.call(ada, "item.list", limit=3, cursor=cursor)
        assert len(page["items"]) <= 3
        found += [each["key"] for each in page["items"]]
        cursor = page.get("cursor")
        if cursor is None:
            break
    assert [key.rsplit(":", 1)[1] for key in found] == ["6", "5", "4", "3", "2", "1", "0"]
    assert [each["item"] for each in (await house.call(bob, "item.list"))["items"]] == ["contributor"]
    card = next(each for each in page["catalogue"] if each["item"] == "rename_card")
    assert card == {
        "item": "rename_card",
        "kind": "card",
        "name": "Rename card",
        "names": {"en": "Rename card", "zh": "改名卡"},
    }


async def test_a_badge_is_taken_off_and_put_on_by_its_owner_alone(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    for name in ("contributor", "first_ten"):
        await house.rooms.items.grant("test", GrantItem(user=ada, item=name))

    async def shown() -> dict[str, tuple[bool, bool]]:
        badges = (await house.call(ada, "badge.list"))["badges"]
        return {each["item"]: (each["owned"], each["worn"]) for each in badges}

    start = {"contributor": (True, True), "first_ten": (True, False), "first_hundred": (False, False)}
    assert await shown() == start
    worn = await house.call(ada, "badge.wear", item="first_ten")
    assert worn["user"]["badge"]["item"] == "first_ten"
    assert await shown() == start | {"contributor": (True, False), "first_ten": (True, True)}
    off = await house.call(ada, "badge.wear", item=None)
    assert "badge" not in off["user"]
    assert "badge" not in (await house.call(bob, "user.get", users=[ada]))["users"][0]
    for who, name in ((bob, "contributor"), (ada, "first_hundred"), (ada, "rename_card"), (ada, "nothing")):
        with pytest.raises(NotFound):
            await house.call(who, "badge.wear", item=name)


async def test_without_items_their_commands_say_so(store: Store) -> None:
    async with opened(store, items=ItemSettings()) as house:
        ada = await house.user("ada")
        for command, params in (("item.list", {}), ("badge.list", {}), ("badge.wear", {"item": None})):
            with pytest.raises(Unavailable):
                await house.call(ada, command, **params)
        with pytest.raises(Unavailable):
            await house.rooms.items.grant("test", GrantItem(user=ada, item="contributor"))


async def test_a_deleted_account_has_nothing_wears_nothing_and_is_given_nothing(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    late = house.outbox.take("registered")
    await house.rooms.items.grant("test", GrantItem(user=ada, item="contributor"))
    await house.rooms.admin.deletions.delete("test", DeleteUser(user=ada))
    await house.rooms.items.registered(late)
    assert {row.user for row in await house.rows(select(item.c.user))} == {bob}
    assert "badge" not in (await house.call(bob, "user.get", users=[ada]))["users"][0]
    with pytest.raises(NotFound):
        await house.rooms.items.grant("test", GrantItem(user=ada, item="contributor"))
