"""Messages older than they are kept: what goes, in which portions, and what a client is told; on each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import define, field
from chat_common.errors import ChatError, Invalid, NotFound, NotPermitted
from chat_common.ports.files import NoAttachments
from chat_server.admin.records import SetRole
from chat_server.im.purge import PORTION, purge
from chat_server.im.retention import Retention
from chat_server.logic.settings import GroupSettings, LogicSettings, UserSettings
from chat_server.store.account_schema import audit
from chat_server.store.columns import metadata
from chat_server.store.retention import DAY_MS, RetentionSettings, cutoff, days_of
from chat_server.store.schema import former, message, push_due, reaction
from sqlalchemy import func, insert, select

from tests.chat_server.house import House, Store, opened, seqs


def kept(days: int, **more: Any) -> LogicSettings:
    return LogicSettings(
        GroupSettings(strangers="allow"), UserSettings(), retention=RetentionSettings(days=days, **more)
    )


@pytest.fixture
async def month(store: Store) -> AsyncIterator[House]:
    """A house in which messages are kept for 30 days."""
    async with opened(store, logic=kept(30)) as house:
        yield house


def later(house: House, days: float) -> None:
    house.clock.advance(days * DAY_MS / 1000)


async def swept(house: House) -> int:
    found = await house.rooms.im._parts.retention.round()
    await house.pump()
    return found


async def count(house: House, table: Any) -> int:
    return int((await house.rows(select(func.count()).select_from(table)))[0][0])


async def test_what_is_older_goes_with_all_that_hangs_on_it_and_the_rest_stays(month: House) -> None:
    ada, bert, carl = await month.users("ada", "bert", "carl")
    group = await month.group(ada, bert, carl)
    first = (await month.say(ada, group, "old"))["seq"]
    await month.call(bert, "message.react", conversation=group, seq=first, emoji="👍", on=True)
    await month.call(carl, "group.leave", conversation=group)
    await month.call(ada, "message.edit", conversation=group, seq=first, body={"text": "older"})
    assert (await count(month, former), await count(month, reaction)) == (1, 1)
    later(month, 20)
    recent = (await month.say(bert, group, "recent", reply_to=first))["seq"]
    await month.pump()
    began = await month.call(ada, "inbox.list")
    rev = (await month.call(ada, "sync", epoch=began["epoch"], conversation=group, rev=0))["rev"]
    month.delivered.clear()

    later(month, 12)
    assert await swept(month) == 1
    assert (await count(month, message), await count(month, former), await count(month, reaction)) == (1, 0, 0)
    page = await month.call(ada, "history", conversation=group)
    assert (seqs(page), page["first_seq"], "reply_to" in page["messages"][0]) == ([recent], recent, False)
    assert (await month.call(ada, "history", conversation=group, before=recent))["messages"] == []
    assert seqs(await month.call(ada, "history", conversation=group, after=first)) == [recent]
    told = [push.data.first_seq for push in month.pushed(ada) if push.event == "conversation"]
    assert told == [recent]
    synced = await month.call(ada, "sync", epoch=began["epoch"], conversation=group, rev=rev)
    assert (synced["messages"], synced["conversation"]["first_seq"]) == ([], recent)
    row = (await month.call(ada, "inbox.list"))["inbox"][0]
    assert (row["first_seq"], row["unread"], row["head"]["preview"]["text"]) == (recent, 1, "recent")
    versioned = await month.call(ada, "sync", epoch=began["epoch"], version=began["version"])
    assert [each["first_seq"] for each in versioned["inbox"]] == [recent]
    assert await swept(month) == 0, "nothing else was due"


async def test_nothing_can_be_done_to_what_is_gone_and_it_looks_as_if_it_had_never_been(month: House) -> None:
    ada, bert = await month.users("ada", "bert")
    group = await month.group(ada, bert)
    seq = (await month.say(ada, group, "old"))["seq"]
    report = (await month.call(bert, "message.report", conversation=group, seq=seq))["report"]
    later(month, 32)
    await month.say(bert, group, "new")
    await swept(month)
    for command, params in {
        "message.edit": {"seq": seq, "body": {"text": "again"}},
        "message.recall": {"seq": seq},
        "message.react": {"seq": seq, "emoji": "👍", "on": True},
        "message.reactions": {"seq": seq},
        "message.readers": {"seq": seq},
        "message.report": {"seq": seq},
        "submit": {"kind": "text", "body": {"text": "hm"}, "reply_to": seq},
    }.items():
        with pytest.raises(ChatError) as refused:
            await month.call(ada, command, conversation=group, **params)
        never: dict[str, Any] = {**params, "reply_to" if "reply_to" in params else "seq": 9_999}
        with pytest.raises(ChatError) as unknown:
            await month.call(ada, command, conversation=group, **never)
        assert (refused.value.code, refused.value.message) == (unknown.value.code, unknown.value.message)
        assert isinstance(refused.value, NotFound) or command == "submit"
    boss = await month.user("boss")
    await month.rooms.admin.users.set_role("console:me", SetRole(user=boss, role="admin"))
    shown = await month.call(boss, "admin.report.show", report=report)
    assert "message" not in shown
    with pytest.raises(NotFound):
        await month.call(boss, "admin.message.recall", conversation=group, seq=seq)


async def test_unread_never_counts_what_is_gone_nor_does_a_mark_move_back(month: House) -> None:
    ada, bert = await month.users("ada", "bert")
    group = await month.group(ada, bert)
    for number in range(4):
        await month.say(ada, group, f"old {number}", mentions=[bert] if number == 3 else None)
    later(month, 31.5)
    newest = (await month.say(ada, group, "new"))["seq"]
    await month.pump()
    await swept(month)
    row = (await month.call(bert, "inbox.list"))["inbox"][0]
    assert (row["unread"], row["read"], "mentioned" in row) == (1, 0, False)
    assert await month.call(bert, "read", conversation=group, seq=2) == {"read": 2, "unread": 1}
    assert await month.call(bert, "read", conversation=group, seq=newest) == {"read": newest, "unread": 0}
    later(month, 40)
    await swept(month)
    row = (await month.call(bert, "inbox.list"))["inbox"][0]
    assert (row["unread"], row["first_seq"], "preview" in row["head"]) == (0, newest + 1, False)
    assert (await month.call(bert, "history", conversation=group))["messages"] == []
    assert (await month.say(ada, group, "and on"))["seq"] == newest + 1
    assert seqs(await month.call(bert, "history", conversation=group)) == [newest + 1]


async def test_whoever_has_left_is_told_by_the_own_row(month: House) -> None:
    ada, bert, carl = await month.users("ada", "bert", "carl")
    group = await month.group(ada, bert, carl)
    await month.say(ada, group)
    for who in (bert, carl):
        await month.call(who, "group.leave", conversation=group)
    await month.pump()
    began = {who: await month.call(who, "inbox.list") for who in (bert, carl)}
    later(month, 32)
    await swept(month)
    for who, held in began.items():
        page = await month.call(who, "sync", epoch=held["epoch"], version=held["version"])
        (row,) = page["inbox"]
        assert (row["left"], row["unread"], row["first_seq"] > row["head"]["seq"]) == (True, 0, True)
        assert (await month.call(who, "history", conversation=group))["messages"] == []


async def test_the_group_may_choose_less_and_the_operator_anything(store: Store) -> None:
    async with opened(store, logic=kept(30, group_least=3)) as house:
        ada, bert, boss = await house.users("ada", "bert", "boss")
        await house.rooms.admin.users.set_role("console:me", SetRole(user=boss, role="admin"))
        group, other = await house.group(ada, bert), await house.group(ada)
        await house.say(ada, other)
        with pytest.raises(NotPermitted):
            await house.call(bert, "group.update", conversation=group, kept_days=7)
        with pytest.raises(Invalid, match="at least 3 days") as least:
            await house.call(ada, "group.update", conversation=group, kept_days=2)
        assert (least.value.field, least.value.limit) == ("kept_days", 3)
        with pytest.raises(Invalid):
            await house.call(ada, "group.update", conversation=group, kept_days=36_501)
        assert (await house.call(ada, "group.update", conversation=group, kept_days=7))["kept_days"] == 7
        said = (await house.call(bert, "history", conversation=group))["messages"][-1]
        assert (said["body"]["event"], said["body"]["args"]) == ("group.updated", {"kept_days": 7})
        assert await house.call(ada, "group.update", conversation=group, kept_days=7) == await house.call(
            ada, "group.get", conversation=group
        )
        assert len((await house.call(bert, "history", conversation=group))["messages"]) == said["seq"], "said once"

        later(house, 9)
        assert await swept(house) == 1
        assert (await house.call(bert, "history", conversation=group))["messages"] == []
        later(house, 22)
        assert await swept(house) == 1  # the other one

        shown = await house.call(boss, "admin.group.retention", conversation=other, days=0)
        assert (shown["kept_days"], "own_days" in shown) == (0, False)
        await house.say(ada, other, "for ever")
        later(house, 400)
        assert await swept(house) == 0
        await house.call(ada, "group.update", conversation=other, kept_days=100)
        shown = await house.call(boss, "admin.group.show", conversation=other)
        assert (shown["kept_days"], shown["own_days"]) == (0, 100)
        assert await swept(house) == 1
        shown = await house.call(boss, "admin.group.retention", conversation=other)
        assert not {"kept_days", "own_days"} & set(shown)
        assert "kept_days" not in await house.call(ada, "group.get", conversation=other)
        noted = await house.rows(select(audit.c.act, audit.c.actor).where(audit.c.act == "group.retention"))
        assert [tuple(row) for row in noted] == [("group.retention", boss)] * 2


async def test_nobody_chooses_where_the_operator_does_not_allow_it(store: Store) -> None:
    async with opened(store, logic=kept(0, groups=False)) as house:
        ada = await house.user("ada")
        group = await house.group(ada)
        with pytest.raises(NotPermitted, match="do not choose") as refused:
            await house.call(ada, "group.update", conversation=group, kept_days=7)
        assert refused.value.field == "kept_days"
        later(house, 4_000)
        assert await swept(house) == 0, "0 is for ever"


@define
class Detached(NoAttachments):
    """Remembers which messages' files were let go."""

    kinds: Any = frozenset({"text"})
    seqs: list[int] = field(factory=list)

    def detach(self, connection: Any, conversation: str, seq: int) -> None:
        self.seqs.append(seq)


async def test_a_portion_takes_no_more_rows_than_it_may_and_files_go_with_their_messages(month: House) -> None:
    ada, bert = await month.users("ada", "bert")
    direct = (await month.call(ada, "direct.open", user=bert))["conversation"]
    await month.say(ada, direct)
    many = [{"conversation": direct, "seq": 1, "emoji": "👍", "user": f"u{n}"} for n in range(PORTION + 50)]
    rows = [
        {"conversation": direct, "seq": seq, "rev": seq, "first_rev": seq, "sender": ada, "ref": f"r{seq}",
         "hash": b"", "kind": "text", "body": '{"text":"x"}', "time": 1}
        for seq in range(2, 2 * PORTION + 2)
    ]  # fmt: skip

    def fill(tx: Any) -> None:
        tx.connection.execute(insert(reaction), many)
        tx.connection.execute(insert(message), rows)
        tx.room(direct).head_seq = tx.room(direct).head_rev = 2 * PORTION + 1
        tx.room(direct).dirty = True

    await month.rooms.executor.apply(fill)
    later(month, 40)
    await month.pump()
    month.delivered.clear()
    files = Detached()
    sizes, told, left = [], [], await count(month, message) + await count(month, reaction)
    more = True
    while more:
        more = await month.rooms.executor.apply(lambda tx: purge(tx, files, tx.room(direct), month.clock.wall_ms()))
        now = await count(month, message) + await count(month, reaction)
        sizes.append(left - now)
        left = now
        await month.pump()
        told.append(sum(push.event == "conversation" for push in month.pushed(bert)))
        page = await month.call(bert, "history", conversation=direct, limit=1, after=0)
        assert all(seq >= page["first_seq"] for seq in seqs(page))
    assert sum(sizes) == len(many) + len(rows) + 1
    assert max(sizes) <= PORTION
    assert (told[-2:], left) == ([0, 1], 0), "the members hear of it once"
    assert files.seqs == list(range(1, 2 * PORTION + 2))


async def test_whoever_does_not_hold_the_lease_deletes_nothing(month: House) -> None:
    ada = await month.user("ada")
    group = await month.group(ada)
    await month.say(ada, group)
    later(month, 40)

    @define
    class Lost:
        name: str = "retention"
        held: bool = True

        def verify(self, connection: Any) -> bool:
            return False

    lost: Any = Lost()
    retention = Retention(month.rooms.executor, NoAttachments(), RetentionSettings(days=30), lost)
    await retention.round()
    lost.held = False
    assert await retention.round() == 0
    assert (await month.call(ada, "history", conversation=group))["messages"]
    assert await swept(month) == 1


async def test_nobody_is_pushed_what_is_gone(month: House) -> None:
    ada, bert = await month.users("ada", "bert")
    group, fresh = await month.group(ada, bert), await month.group(ada, bert)
    owed = {"user": bert, "first_seq": 1, "last_seq": 1, "due_at": 1}
    await month.rooms.executor.apply(
        lambda tx: tx.connection.execute(insert(push_due), [{**owed, "conversation": each} for each in (group, fresh)])
    )
    await month.call(ada, "group.update", conversation=group, kept_days=1)
    later(month, 3)
    await swept(month)
    assert [row.conversation for row in await month.rows(select(push_due))] == [fresh]


async def test_an_active_conversation_is_stamped_once_a_day(month: House) -> None:
    ada = await month.user("ada")
    group = await month.group(ada)
    for _ in range(40):
        await month.say(ada, group)
        later(month, 1)
    found = 0
    for _ in range(24):
        later(month, 1 / 24)
        found += await swept(month)
    assert found in (1, 2)  # the first round takes what is due by now
    first = (await month.call(ada, "group.get", conversation=group))["first_seq"]
    oldest = (await month.call(ada, "history", conversation=group, after=0))["messages"][0]
    age = (month.clock.wall_ms() - oldest["time"]) / DAY_MS
    assert oldest["seq"] == first
    assert 29 <= age < 31


@pytest.mark.parametrize(
    ("overall", "operator", "own", "days"),
    [(0, None, None, 0), (30, None, None, 30), (30, None, 7, 7), (30, None, 90, 30), (30, 0, None, 0),
     (30, 0, 90, 90), (0, None, 5, 5), (0, 60, 90, 60), (30, 60, None, 60)],
)  # fmt: skip
def test_the_shorter_of_what_is_said_holds(overall: int, operator: int | None, own: int | None, days: int) -> None:
    @define
    class Row:
        kept_days: int | None
        own_days: int | None

    row = Row(operator, own)
    assert days_of(row, overall) == days
    assert cutoff(10 * DAY_MS + 5, 3) == 7 * DAY_MS


def test_each_row_of_a_message_is_thought_of() -> None:
    """Tables that name a message; a new one has to be purged too, or it says here why not."""
    tables = metadata.tables.values()
    named = {table.name for table in tables if {"conversation", "seq"} <= set(table.c.keys())}
    # A report holds no text, and the index of search is told of each portion.
    assert named == {"chat_message", "chat_former", "chat_reaction", "chat_report", "chat_search"}
