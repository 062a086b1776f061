"""Reports as admins work them off, on each engine."""

from __future__ import annotations

from typing import Any

import pytest
from chat_common.errors import Conflict, Invalid, NotFound, NotPermitted
from chat_server.admin.records import SetRole
from chat_server.store.account_schema import audit
from chat_server.store.schema import reaction
from chat_server.store.schema import user as user_table
from msgspec import UNSET
from sqlalchemy import select

from tests.chat_server.house import House


@pytest.fixture
async def admin(house: House) -> str:
    made = await house.user("boss")
    await house.rooms.admin.users.set_role("console:me", SetRole(user=made, role="admin"))
    return made


async def acts(house: House) -> list[tuple[str, str, str]]:
    wanted = select(audit).where(audit.c.act.in_(["report.show", "report.close", "message.recall", "user.warn"]))
    return [(row.act, row.actor, row.subject) for row in await house.rows(wanted.order_by(audit.c.time, audit.c.entry))]


async def waiting(house: House, admin: str, **others: Any) -> list[Any]:
    return list((await house.call(admin, "admin.report.list", **others))["reports"])


async def test_a_message_is_taken_down_for_everybody_and_its_reports_are_closed(house: House, admin: str) -> None:
    ada, bert, carl = await house.users("ada", "bert", "carl")
    room = await house.group(ada, bert, carl)
    await house.call(ada, "group.update", conversation=room, name="renamed")
    seq = (await house.say(ada, room, "rude words"))["seq"]
    await house.say(bert, room, "quoting", reply_to=seq)
    await house.call(bert, "message.react", conversation=room, seq=seq, emoji="👍", on=True)
    for who in (bert, carl):
        await house.call(who, "message.report", conversation=room, seq=seq, category="hate")
    house.clock.advance(1)
    other = await house.say(ada, room, "dull words")
    await house.call(carl, "message.report", conversation=room, seq=other["seq"])
    found = await waiting(house, admin)
    assert [each["preview"]["text"] for each in found] == ["rude words", "rude words", "dull words"]
    house.clock.advance(86_400 * 30)  # long after its sender could have recalled it
    await house.pump()
    house.delivered.clear()
    gone = await house.call(admin, "admin.message.recall", conversation=room, seq=seq, note="hate speech")
    assert (gone["recalled"]["by"], "body" in gone) == ("@moderators", False)
    await house.pump()
    (pushed,) = [push.data for push in house.pushed(carl) if push.event == "message"]
    assert (pushed.seq, pushed.recalled.by, pushed.body) == (seq, "@moderators", UNSET)
    history = (await house.call(bert, "history", conversation=room))["messages"]
    assert "rude words" not in str(history)
    assert not await house.rows(select(reaction))
    assert [each["preview"]["text"] for each in await waiting(house, admin)] == ["dull words"]
    closed = await waiting(house, admin, state="closed")
    assert {each["reporter"] for each in closed} == {bert, carl}
    for each in closed:
        assert (each["outcome"], each["closed_by"], each["note"]) == ("taken_down", admin, "hate speech")
        assert each["preview"] == {"sender": ada, "kind": "recalled", "text": ""}
    shown = await house.call(admin, "admin.report.show", report=closed[0]["report"])
    assert "recalled" in shown["message"], "it shows what is there now"
    assert (await house.call(admin, "admin.message.recall", conversation=room, seq=seq))["rev"] == gone["rev"]
    with pytest.raises(NotFound):
        await house.call(admin, "admin.message.recall", conversation=room, seq=10_000)
    with pytest.raises(NotFound):
        await house.call(admin, "admin.message.recall", conversation="nowhere", seq=1)
    with pytest.raises(Conflict):
        await house.call(admin, "admin.message.recall", conversation=room, seq=1)
    assert ("message.recall", admin, ada) in await acts(house)
    assert ("report.show", admin, ada) in await acts(house)
    assert not any("rude" in str(row.details) for row in await house.rows(select(audit)))


async def test_a_report_shows_the_message_as_it_is_now(house: House, admin: str) -> None:
    ada, bert = await house.users("ada", "bert")
    room = await house.group(ada, bert)
    seq = (await house.say(ada, room, "before"))["seq"]
    made = await house.call(bert, "message.report", conversation=room, seq=seq, reason="look")
    await house.call(ada, "message.edit", conversation=room, seq=seq, body={"text": "after"})
    shown = await house.call(admin, "admin.report.show", report=made["report"])
    assert shown["message"]["body"] == {"text": "after"}
    assert (shown["report"]["reason"], shown["report"]["reporter"], shown["report"]["about"]) == ("look", bert, ada)
    with pytest.raises(NotFound):
        await house.call(admin, "admin.report.show", report="nothing")


async def test_a_user_is_warned_in_a_chat_of_two_and_only_the_server_can_write_so(house: House, admin: str) -> None:
    ada, bert = await house.users("ada", "bert")
    made = await house.call(bert, "user.report", user=ada)
    warned = await house.call(admin, "admin.user.warn", user=ada, text="Please stop this.", report=made["report"])
    await house.pump()
    (row,) = [row for row in (await house.call(ada, "inbox.list"))["inbox"]]
    assert (row["conversation"], row["unread"], row["peer"]["name"]) == (warned["conversation"], 1, "Moderator")
    (said,) = (await house.call(ada, "history", conversation=warned["conversation"]))["messages"]
    assert (said["kind"], said["seq"], said["body"]["event"]) == ("system", warned["seq"], "warned")
    assert said["body"]["args"] == {"text": "Please stop this."}
    (closed,) = await waiting(house, admin, state="closed")
    assert (closed["outcome"], closed["closed_by"]) == ("warned", admin)
    again = await house.call(admin, "admin.user.warn", user=ada, text="I mean it.")
    assert (again["conversation"], again["seq"]) == (warned["conversation"], 2)
    await house.call(admin, "admin.user.warn", user=bert, text="You too.")
    assert len(await house.rows(select(user_table).where(user_table.c.name == "Moderator"))) == 1
    with pytest.raises(Invalid):
        await house.call(ada, "user.rename", name="Moderator")
    for who, text, error in (("nobody", "x", NotFound), (ada, " ", Invalid), (ada, "x" * 1001, Invalid)):
        with pytest.raises(error):
            await house.call(admin, "admin.user.warn", user=who, text=text)
    notes = [row for row in await house.rows(select(audit)) if row.act == "user.warn"]
    assert sorted(row.subject for row in notes) == sorted([ada, ada, bert])
    assert not any("stop" in str(row.details) for row in notes)


async def test_reports_are_listed_page_by_page_each_once(house: House, admin: str) -> None:
    people = await house.users(*(f"user{number}" for number in range(7)))
    made = []
    for who in people[1:]:
        made.append((await house.call(who, "user.report", user=people[0]))["report"])
        house.clock.advance(1)
    await house.call(people[0], "user.report", user=people[1])

    async def listed(**wanted: Any) -> list[str]:
        found: list[str] = []
        cursor: Any = None
        while cursor is not UNSET:
            page = await house.call(admin, "admin.report.list", limit=2, cursor=cursor, **wanted)
            found += [each["report"] for each in page["reports"]]
            cursor = page.get("cursor", UNSET)
        return found

    assert await listed(about=people[0]) == made
    for name in made[:4]:
        await house.call(admin, "admin.report.close", report=name, note="nothing in it")
        house.clock.advance(1)
    assert await listed(about=people[0]) == made[4:]
    assert await listed(about=people[0], state="closed") == made[3::-1]
    before = await house.call(admin, "admin.report.show", report=made[0])
    after = await house.call(admin, "admin.report.close", report=made[0], outcome="banned")
    assert (before, after["report"]["outcome"]) == (after, "dismissed"), "one that is closed stays as it is"
    page = await house.call(admin, "admin.report.list", limit=1)
    with pytest.raises(Invalid):
        await house.call(admin, "admin.report.list", state="closed", cursor=page["cursor"])


async def test_nobody_but_admins_sees_reports(house: House, admin: str) -> None:
    ada = await house.user("ada")
    for command, params in (
        ("admin.report.list", {}),
        ("admin.report.show", {"report": "x"}),
        ("admin.report.close", {"report": "x"}),
        ("admin.message.recall", {"conversation": "x", "seq": 1}),
        ("admin.user.warn", {"user": ada, "text": "x"}),
    ):
        with pytest.raises(NotPermitted):
            await house.call(ada, command, **params)
