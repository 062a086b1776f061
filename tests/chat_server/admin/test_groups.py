"""Groups as admins see and change them, on each engine."""

from __future__ import annotations

from typing import Any

import pytest
from chat_common.errors import Conflict, NotAMember, NotFound
from chat_server.admin.records import SetRole
from chat_server.store.account_schema import audit
from msgspec import UNSET
from sqlalchemy import select

from tests.chat_server.house import House


@pytest.fixture
async def admin(house: House) -> str:
    made = await house.user("boss")
    await house.rooms.admin.users.set_role("console:me", SetRole(user=made, role="admin"))
    return made


async def noted(house: House) -> list[tuple[Any, ...]]:
    rows = await house.rows(select(audit).where(audit.c.act.startswith("group.")).order_by(audit.c.time))
    return [(row.act, row.actor, row.subject) for row in rows]


async def test_a_group_is_handed_over_and_its_members_see_it(house: House, admin: str) -> None:
    ada, bert, carl = await house.users("ada", "bert", "carl")
    group = await house.group(ada, bert)
    shown = await house.call(admin, "admin.group.owner", conversation=group, user=bert)
    assert (shown["owner"], shown["admins"], shown["members"]) == (bert, [ada], 2)
    roles = {
        each["user"]["user"]: each["role"]
        for each in (await house.call(ada, "group.members", conversation=group))["members"]
    }
    assert roles == {ada: "admin", bert: "owner"}
    await house.pump()
    assert "members" in [push.event for push in house.pushed(ada)]
    assert (await house.call(admin, "admin.group.owner", conversation=group, user=bert)) == shown
    with pytest.raises(NotFound):
        await house.call(admin, "admin.group.owner", conversation=group, user=carl)
    assert await noted(house) == [("group.owner", admin, group)]


async def test_a_dissolved_group_has_ended_for_all_and_stays_so(house: House, admin: str) -> None:
    ada, bert = await house.users("ada", "bert")
    group = await house.group(ada, bert)
    await house.say(bert, group)
    shown = await house.call(admin, "admin.group.dissolve", conversation=group)
    assert (shown["dissolved"], shown["members"], "owner" in shown) == (True, 0, False)
    with pytest.raises(NotAMember):
        await house.say(bert, group)
    assert (await house.call(bert, "history", conversation=group))["messages"]
    assert (await house.call(admin, "admin.group.dissolve", conversation=group)) == shown
    with pytest.raises(Conflict, match="dissolved"):
        await house.call(admin, "admin.group.owner", conversation=group, user=bert)
    assert await noted(house) == [("group.dissolve", admin, group)]


async def test_groups_are_found_by_name_and_member_and_each_once(house: House, admin: str) -> None:
    ada, bert = await house.users("ada", "bert")
    made = [await house.group(ada, name=f"Round {number}") for number in range(5)]
    other = await house.group(bert, name="100% other")
    direct = (await house.call(ada, "direct.open", user=bert))["conversation"]
    found: list[str] = []
    cursor: Any = None
    while cursor is not UNSET:
        page = await house.call(admin, "admin.group.list", limit=2, cursor=cursor)
        found += [each["conversation"] for each in page["groups"]]
        cursor = page.get("cursor", UNSET)
    assert found == sorted([*made, other])
    for wanted, groups in (
        ({"query": "round"}, made),
        ({"query": "100%"}, [other]),
        ({"query": "%"}, [other]),
        ({"user": bert}, [other]),
        ({"user": ada, "query": "other"}, []),
    ):
        page = await house.call(admin, "admin.group.list", **wanted)
        assert {each["conversation"] for each in page["groups"]} == set(groups), wanted
    for nothing in (direct, "nothing"):
        with pytest.raises(NotFound):
            await house.call(admin, "admin.group.show", conversation=nothing)
