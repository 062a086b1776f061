"""Deleted accounts: what is gone at once, what goes in portions, what others see of it; on each engine."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from chat_common.errors import ChatError, Conflict, NotFound, NotPermitted
from chat_common.ports.identity import Proof
from chat_server.admin.records import SetRole
from chat_server.im import withdrawal
from chat_server.logic import departure
from chat_server.logic.departure import NAME
from chat_server.services import Credentials
from chat_server.store import account_schema as accounts
from chat_server.store import schema
from sqlalchemy import func, select

from tests.chat_server.house import House


@pytest.fixture
async def admin(house: House) -> str:
    made = await house.user("boss")
    await house.rooms.admin.users.set_role("console:me", SetRole(user=made, role="admin"))
    return made


async def delete(house: House, admin: str, who: str, **more: Any) -> Any:
    state = await house.call(admin, "admin.user.delete", user=who, **more)
    await house.rooms.admin.deletions.finish()
    await house.pump()
    return state


async def spoken(house: House, user: str, conversation: str) -> list[str]:
    page = await house.call(user, "history", conversation=conversation)
    return [m.get("body", {}).get("text", "") for m in page["messages"] if m["kind"] == "text"]


async def count(house: House, table: Any, *conditions: Any) -> int:
    return int((await house.rows(select(func.count()).select_from(table).where(*conditions)))[0][0])


async def test_nothing_of_the_person_is_left_and_the_messages_stay(house: House, admin: str) -> None:
    ada, bert = await house.users("ada", "bert")
    group = await house.group(bert, ada)
    direct = (await house.call(ada, "direct.open", user=bert))["conversation"]
    await house.say(ada, group, "one")
    await house.say(ada, direct, "two")
    await house.call(ada, "contact.request", user=bert, text="I am Ada")
    await house.call(bert, "contact.accept", user=ada)
    await house.pump()
    held = await house.call(bert, "inbox.list")
    synced = await house.call(bert, "sync", epoch=held["epoch"], conversation=group, rev=0)
    house.delivered.clear()

    said = await house.call(admin, "admin.user.delete", user=ada)
    assert (said["user"], said["done"], said["messages"]) == (ada, False, False)
    await house.rooms.admin.deletions.finish()
    await house.pump()
    assert (await house.rooms.admin.deletions.state(ada)).done

    gone = {"user": ada, "name": NAME, "deleted": True}
    assert (await house.call(bert, "user.get", users=[ada]))["users"] == [gone]
    assert await spoken(house, bert, group) == ["one"]
    assert await spoken(house, bert, direct) == ["two"]
    # A client that held the old name is told, by pushes and by syncs alike.
    news = await house.call(bert, "sync", epoch=held["epoch"], version=held["version"])
    assert [(each["user"], each["state"]) for each in news["contacts"]] == [(gone, "none")]
    assert [each["peer"] for each in news["inbox"] if each["conversation"] == direct] == [gone]
    page = await house.call(bert, "sync", epoch=held["epoch"], conversation=group, rev=synced["rev"])
    assert [each["user"] for each in page["members"]] == [gone]
    members = [m for push in house.pushed(bert) if push.event == "members" for m in push.data.members]
    assert {m.user.name for m in members if m.user.user == ada} == {NAME}
    for command, params in (
        ("contact.request", {"user": ada}),
        ("direct.open", {"user": ada}),
        ("group.create", {"name": "g", "members": [ada]}),
    ):
        with pytest.raises(NotFound):
            await house.call(bert, command, **params)
    with pytest.raises(NotPermitted):
        await house.say(bert, direct, "anybody there?")
    assert (await house.call(bert, "user.search", query="ada"))["users"] == []
    assert ada not in [a["user"] for a in (await house.call(admin, "admin.user.list"))["accounts"]]
    assert (await house.call(admin, "admin.user.show", user=ada))["deleted_at"] == said["deleted_at"]

    for table in (
        accounts.identity,
        schema.contact,
        schema.reply,
        schema.name_part,
        accounts.deletion,
        schema.restamp,
    ):
        assert not await count(house, table, table.c.user == ada), table.name
    assert not await count(house, accounts.login, accounts.login.c.user == ada, accounts.login.c.ended_at.is_(None))
    # The name is free again, and whoever takes it is somebody else.
    again = await house.user("ada")
    assert again != ada
    notes = await house.rows(select(accounts.audit).where(accounts.audit.c.act == "user.delete"))
    assert [(row.actor, row.subject, row.details) for row in notes] == [(admin, ada, '{"messages":false}')]


async def test_with_messages_each_is_recalled_for_everybody(house: House, admin: str) -> None:
    ada, bert = await house.users("ada", "bert")
    group = await house.group(bert, ada)
    other = await house.group(ada, bert)
    for number in range(5):
        await house.say(ada, group, f"ada {number}")
        await house.say(bert, group, f"bert {number}")
    await house.call(ada, "group.update", conversation=other, announcement="my words")
    await house.call(bert, "message.react", conversation=group, seq=1, emoji="👍", on=True)
    await house.pump()
    await delete(house, admin, ada, messages=True)
    assert [text for text in await spoken(house, bert, group) if text] == [f"bert {n}" for n in range(5)]
    page = await house.call(bert, "history", conversation=group)
    recalled = [m for m in page["messages"] if "recalled" in m]
    assert [m["sender"] for m in recalled] == [ada] * 5
    assert not any("body" in m or "reactions" in m for m in recalled)
    updates = [m for m in (await house.call(bert, "history", conversation=other))["messages"] if m["kind"] == "system"]
    assert [m["body"]["args"] for m in updates if m["body"]["event"] == "group.updated"] == [{}]


async def test_messages_may_follow_later_and_repeating_changes_nothing(house: House, admin: str) -> None:
    ada, bert = await house.users("ada", "bert")
    group = await house.group(bert, ada)
    await house.say(ada, group, "words")
    first = await delete(house, admin, ada)
    assert await spoken(house, bert, group) == ["words"]
    before = await house.call(bert, "history", conversation=group)
    again = await delete(house, admin, ada)
    assert (again["deleted_at"], again["done"]) == (first["deleted_at"], True)
    assert await house.call(bert, "history", conversation=group) == before
    await delete(house, admin, ada, messages=True)
    assert await spoken(house, bert, group) == [""]
    assert await count(house, accounts.audit, accounts.audit.c.act == "user.delete") == 2
    with pytest.raises(Conflict):
        await house.call(admin, "admin.user.delete", user=admin)
    with pytest.raises(NotFound):
        await house.call(admin, "admin.user.delete", user="nobody")
    for command in ("admin.user.rename", "admin.user.role", "admin.user.ban"):
        more = {"admin.user.rename": {"name": "x"}, "admin.user.role": {"role": "admin"}}.get(command, {})
        with pytest.raises(NotFound):
            await house.call(admin, command, user=ada, **more)


async def test_a_group_goes_to_the_eldest_admin_then_member_and_ends_without_members(house: House, admin: str) -> None:
    ada, bert, carl, dora = await house.users("ada", "bert", "carl", "dora")
    with_admin = await house.group(ada, bert, carl)
    await house.call(ada, "group.role", conversation=with_admin, user=carl, role="admin")
    by_age = await house.group(ada)
    for who in (dora, bert):
        house.clock.advance(60)
        await house.call(ada, "group.invite", conversation=by_age, users=[who])
    alone = await house.group(ada)
    await house.call(ada, "group.invite", conversation=alone, users=[dora])
    await house.say(ada, alone, "kept for dora")
    await house.call(dora, "group.leave", conversation=alone)
    nobody = await house.group(ada)
    await house.say(ada, nobody, "for nobody")
    notes = (await house.call(ada, "direct.open", user=ada))["conversation"]
    await house.say(ada, notes, "to myself")
    await delete(house, admin, ada)
    shown = {each: await house.call(admin, "admin.group.show", conversation=each) for each in (with_admin, by_age)}
    assert {each: info["owner"] for each, info in shown.items()} == {with_admin: carl, by_age: dora}
    assert (await house.call(admin, "admin.group.show", conversation=alone))["dissolved"]
    assert (await house.call(admin, "admin.group.show", conversation=nobody))["dissolved"]
    events = [
        (m["body"]["event"], m["body"]["subjects"])
        for m in (await house.call(bert, "history", conversation=by_age))["messages"]
    ]
    assert events[-2:] == [("group.transferred", [dora]), ("group.left", [])]
    assert await spoken(house, dora, alone) == ["kept for dora"]
    for unread in (nobody, notes):
        assert not await count(house, schema.message, schema.message.c.conversation == unread)
    previews = await house.rows(
        select(schema.conversation.c.preview).where(schema.conversation.c.conversation.in_([nobody, notes]))
    )
    assert [row.preview for row in previews] == [None, None]


async def test_invitations_by_and_to_the_account_are_withdrawn(house: House, admin: str) -> None:
    ada, bert, carl = await house.users("ada", "bert", "carl")
    house.rooms.logic._settings.groups.strangers = "ask"
    mine = await house.group(ada, bert)
    theirs = await house.group(carl, ada)
    assert [row["pending"] for row in (await house.call(ada, "inbox.list"))["inbox"] if "pending" in row] == [True]
    await delete(house, admin, ada)
    with pytest.raises(NotFound):
        await house.call(bert, "group.accept", conversation=mine)
    rows = await house.rows(
        select(schema.member.c.user).where(schema.member.c.conversation == theirs, schema.member.c.user == ada)
    )
    assert rows == []


@pytest.mark.parametrize("stop_after", [0, 1, 2, 3, 5, 8, 13])
async def test_it_goes_on_after_a_death_in_the_middle_with_others_writing(
    house: House, admin: str, stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, names in ((departure, ("CONTACTS", "ROOMS")), (withdrawal, ("LOOKED_AT", "RECALLED", "ROOMS"))):
        for name in names:
            monkeypatch.setattr(module, name, 2)
    ada, *others = await house.users("ada", *(f"friend {n}" for n in range(5)))
    groups = [await house.group(ada, *others) for _ in range(3)]
    for other in others:
        await house.call(ada, "contact.request", user=other)
        await house.call(other, "contact.accept", user=ada)
    for group in groups:
        for number in range(3):
            await house.say(ada, group, f"ada {number}")
    await house.call(admin, "admin.user.delete", user=ada, messages=True)
    deletions = house.rooms.admin.deletions
    done = itertools.count()
    while next(done) < stop_after and await house.rooms.executor.apply(lambda tx: deletions._portion(tx, ada)):
        for group in groups:
            await house.say(others[0], group, "meanwhile")

    def dies(tx: Any, who: str, after: str) -> str | None:
        leave(tx, who, after)
        raise RuntimeError("killed before the commit")

    step = (await house.rows(select(accounts.deletion.c.step).where(accounts.deletion.c.user == ada)))[0].step
    leave = deletions._steps[step]
    with monkeypatch.context() as killed:
        killed.setitem(deletions._steps, step, dies)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError):
            await deletions.finish()
    await deletions.finish()
    await house.pump()
    assert not await count(house, accounts.deletion)
    assert not await count(house, schema.contact, schema.contact.c.state != "none")
    assert not await count(house, schema.member, schema.member.c.user == ada, schema.member.c.to_seq.is_(None))
    for group in groups:
        texts = [text for text in await spoken(house, others[0], group) if text]
        assert set(texts) <= {"meanwhile"}
        members = await house.call(others[0], "group.members", conversation=group)
        roles = sorted(each["role"] for each in members["members"])
        assert roles == ["member"] * 4 + ["owner"]


async def test_no_portion_grows_with_what_there_is(house: House, admin: str) -> None:
    ada, bert = await house.users("ada", "bert")
    group = await house.group(bert, ada)
    for number in range(450):
        await house.say(ada if number % 2 else bert, group, f"{number}")
    await house.call(admin, "admin.user.delete", user=ada, messages=True)
    deletions = house.rooms.admin.deletions
    changed = []
    while True:
        before = await count(house, schema.message, schema.message.c.recalled.is_not(None))
        if not await house.rooms.executor.apply(lambda tx: deletions._portion(tx, ada)):
            break
        after = await count(house, schema.message, schema.message.c.recalled.is_not(None))
        changed.append(after - before)
    assert sum(changed) == 225
    assert max(changed) <= withdrawal.RECALLED


async def test_a_deleted_account_gets_no_login_any_more(house: House, admin: str) -> None:
    ada = await house.user("ada")
    token = await house.rooms.auth.issue_token(ada, "phone")
    assert (await house.rooms.auth.authenticate(Credentials(token, "phone"))).user.user == ada
    await delete(house, admin, ada)
    with pytest.raises(ChatError, match="deleted") as refused:
        await house.rooms.auth.authenticate(Credentials(token, "phone"))
    assert refused.value.code == "not_authenticated"
    with pytest.raises(NotFound):
        await house.rooms.auth.issue_token(ada, "phone")
    rows = await house.rows(select(accounts.login).where(accounts.login.c.user == ada))
    assert [(row.ended_by, row.device, row.name, row.address) for row in rows] == [("deleted", None, None, None)]
    other = await house.rooms.executor.apply(lambda tx: house.rooms.auth.ensure_user(tx, Proof("app", "ada", "ada")))
    assert other.user != ada
