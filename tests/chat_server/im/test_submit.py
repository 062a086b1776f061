"""Submit: what is acknowledged is stored and readable, numbered without gaps, once per ref, whoever else sends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from chat_common.errors import (
    ChatError,
    Invalid,
    NotAMember,
    NotFound,
    NotPermitted,
    RefConflict,
)
from chat_server.store.account_schema import ban
from chat_server.store.schema import message
from chat_server.store.writer import BATCH
from sqlalchemy import func, insert, select

from tests.chat_server.house import House


async def everything(house: House, user: str, conversation: str) -> list[dict[str, Any]]:
    """The whole of a conversation by paging."""
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["seq"] if found else 0
        page = await house.call(user, "history", conversation=conversation, after=after, limit=100)
        if not page["messages"]:
            return found
        found += page["messages"]


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 1])
async def test_a_burst_across_the_batch_limit_is_acknowledged_stored_and_readable(house: House, count: int) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    receipts = await asyncio.gather(*(house.say(ada if i % 3 else bob, room, f"m{i}") for i in range(count)))
    assert sorted(receipt["seq"] for receipt in receipts) == list(range(1, count + 1))
    read = await everything(house, bob, room)
    assert [one["seq"] for one in read] == list(range(1, count + 1))
    by_seq = {one["seq"]: one for one in read}
    for i, receipt in enumerate(receipts):
        one = by_seq[receipt["seq"]]
        assert (one["body"]["text"], one["rev"], one["time"]) == (f"m{i}", receipt["rev"], receipt["time"])


async def test_each_caller_s_messages_are_stored_in_the_order_of_the_calls(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    rooms = [await house.group(ada, bob), await house.group(bob, ada)]
    calls = [(who, room, f"{who}{i}") for i in range(300) for who in (ada, bob) for room in rooms]
    await asyncio.gather(*(house.say(*call) for call in calls))
    for room in rooms:
        said = await everything(house, ada, room)
        for who in (ada, bob):
            assert [one["body"]["text"] for one in said if one["sender"] == who] == [f"{who}{i}" for i in range(300)]


async def test_messages_of_many_conversations_in_one_batch_are_numbered_each_by_itself(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    rooms = [await house.group(ada, bob) for _ in range(20)]
    receipts = await asyncio.gather(*(house.say(ada, room) for _ in range(5) for room in rooms))
    assert all([r["seq"] for r in receipts if r["conversation"] == room] == [1, 2, 3, 4, 5] for room in rooms)


async def test_a_ref_repeated_gives_the_first_receipt_even_after_an_edit(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    first = await house.say(ada, room, "once", ref="r1")
    await house.call(ada, "message.edit", conversation=room, seq=first["seq"], body={"text": "twice"})
    house.clock.advance(600)
    assert await house.say(ada, room, "once", ref="r1") == first
    assert len(await everything(house, ada, room)) == 1


async def test_a_ref_with_another_payload_is_a_conflict_whatever_differs(house: House) -> None:
    ada = await house.user("ada")
    room, other = await house.group(ada), await house.group(ada)
    await house.say(ada, room, "one", ref="r1")
    await house.say(ada, room, "two")
    for attempt in (
        house.say(ada, room, "two", ref="r1"),
        house.say(ada, other, "one", ref="r1"),
        house.say(ada, room, "one", ref="r1", reply_to=1),
    ):
        with pytest.raises(RefConflict) as refused:
            await attempt
        assert refused.value.field == "ref"


async def test_a_ref_spent_on_another_command_is_a_conflict_and_the_other_way_round(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    await house.call(ada, "user.rename", ref="one", name="adele")
    with pytest.raises(RefConflict):
        await house.say(ada, room, "hello", ref="one")
    assert (await house.say(ada, room, "hello", ref="two"))["seq"] == 1
    with pytest.raises(RefConflict):
        await house.call(ada, "user.rename", ref="two", name="ada again")
    assert (await house.call(ada, "user.me"))["name"] == "adele"


async def test_a_ref_belongs_to_its_user(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    receipts = [await house.say(who, room, "same", ref="r1") for who in (ada, bob)]
    assert [receipt["seq"] for receipt in receipts] == [1, 2]


async def test_the_same_ref_at_once_is_stored_once(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    receipts = await asyncio.gather(*(house.say(ada, room, "x", ref="r1") for _ in range(20)))
    assert all(receipt == receipts[0] for receipt in receipts)
    assert len(await everything(house, ada, room)) == 1


async def test_one_ref_with_two_payloads_in_one_batch_stores_the_first_alone(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    # Straight to the room: the pipeline would let the second wait for the first.
    handler = {command.name: command for command in house.rooms.im.commands()}["submit"].handler
    from chat_common.records import Caller
    from chat_common.wire import SubmitMessage

    outcomes = await asyncio.gather(
        *(
            handler(Caller(ada, "r1"), SubmitMessage(conversation=room, kind="text", body={"text": text}))
            for text in ("one", "one", "two")
        ),
        return_exceptions=True,
    )
    assert outcomes[0] == outcomes[1]
    assert isinstance(outcomes[2], RefConflict)
    assert [one["body"]["text"] for one in await everything(house, ada, room)] == ["one"]


async def test_a_refused_message_spends_no_ref_and_no_number(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada)
    with pytest.raises(NotFound):
        await house.say(bob, room, ref="r1")
    await house.call(ada, "group.invite", conversation=room, users=[bob])
    assert (await house.say(bob, room, ref="r1"))["seq"] == 2


async def test_a_bad_message_does_not_sink_its_neighbours(house: House) -> None:
    ada, eve = await house.users("ada", "eve")
    room = await house.group(ada)
    calls: list[Any] = []
    for i in range(30):
        calls += [
            house.say(ada, room, f"m{i}"),
            house.say(eve, room, "let me in"),
            house.say(ada, room, mentions=[eve]),
        ]
    outcomes: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
    assert [outcome["seq"] for outcome in outcomes[::3]] == list(range(1, 31))
    assert all(isinstance(outcome, NotFound) for outcome in outcomes[1::3])
    assert all(isinstance(outcome, Invalid) and outcome.field == "mentions" for outcome in outcomes[2::3])


async def test_a_message_that_breaks_the_statement_does_not_sink_its_neighbours(house: House) -> None:
    """Another writer has taken this ref in the meantime: the insert fails, the repeat finds whose it is."""
    ada = await house.user("ada")
    room, other = await house.group(ada), await house.group(ada)
    kept = house.rooms.submit._apply_bound
    raced = False

    def race(connection: Any, items: Any) -> Any:
        nonlocal raced
        if any(item.ref == "raced" for item in items) and not raced:
            outcome = kept(connection, items)
            raced = len(items) == 1
            row = {"conversation": other, "seq": 1, "sender": ada, "ref": "raced", "hash": b"x", "kind": "text"}
            connection.execute(insert(message), row)
            return outcome
        return kept(connection, items)

    house.rooms.submit._apply_bound = race
    outcomes: list[Any] = await asyncio.gather(
        *(house.say(ada, room, f"m{i}", ref="raced" if i == 3 else None) for i in range(8)), return_exceptions=True
    )
    good = [outcome for i, outcome in enumerate(outcomes) if i != 3]
    assert sorted(receipt["seq"] for receipt in good) == sorted({receipt["seq"] for receipt in good})
    said = await everything(house, ada, room)
    assert [one["seq"] for one in said] == list(range(1, len(said) + 1))
    assert {one["body"]["text"] for one in said} >= {f"m{i}" for i in range(8) if i != 3}
    assert not isinstance(outcomes[3], ChatError), "a failed insert is tried again, by itself"


async def test_who_may_not_send_is_told_without_an_oracle(house: House) -> None:
    ada, bob, eve = await house.users("ada", "bob", "eve")
    room = await house.group(ada, bob)
    await house.call(bob, "group.leave", conversation=room)
    with pytest.raises(NotAMember):
        await house.say(bob, room)
    answers = []
    for name in (room, "no-such-room"):
        with pytest.raises(NotFound) as refused:
            await house.say(eve, name)
        answers.append((refused.value.code, str(refused.value), refused.value.field, refused.value.limit))
    assert answers[0] == answers[1]


async def test_a_muted_member_may_send_again_when_the_time_is_over(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.call(ada, "group.mute", conversation=room, user=bob, until=house.clock.wall_ms() + 5_000)
    with pytest.raises(NotPermitted) as refused:
        await house.say(bob, room)
    assert refused.value.retry_after == 5
    house.clock.advance(5)
    await house.say(bob, room)


async def test_a_muted_group_leaves_the_word_to_owner_and_admins(house: House) -> None:
    ada, bob, cem = await house.users("ada", "bob", "cem")
    room = await house.group(ada, bob, cem)
    await house.call(ada, "group.role", conversation=room, user=cem, role="admin")
    await house.call(ada, "group.mute", conversation=room, until=house.clock.wall_ms() + 5_000)
    await house.say(ada, room)
    await house.say(cem, room)
    with pytest.raises(NotPermitted):
        await house.say(bob, room)
    await house.call(ada, "group.mute", conversation=room, until=0)
    await house.say(bob, room)


async def test_who_is_banned_or_blocked_is_refused(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    chat = (await house.call(ada, "direct.open", user=bob))["conversation"]
    await house.say(bob, chat)
    await house.call(ada, "contact.block", user=bob, on=True)
    with pytest.raises(NotPermitted):
        await house.say(bob, chat)
    await house.say(ada, chat, "the one who blocks may still write")
    await house.call(ada, "contact.block", user=bob, on=False)
    await house.say(bob, chat)
    await house.database.change(lambda connection: connection.execute(insert(ban), {"user": bob}))
    with pytest.raises(NotPermitted):
        await house.say(bob, chat)


async def test_mentions_name_members_once_each_and_everybody_by_right_alone(house: House) -> None:
    ada, bob, eve = await house.users("ada", "bob", "eve")
    room = await house.group(ada, bob)
    chat = (await house.call(ada, "direct.open", user=bob))["conversation"]
    await house.say(ada, room, mentions=[bob])
    await house.say(ada, room, mentions=["@all"])
    with pytest.raises(NotPermitted):
        await house.say(bob, room, mentions=["@all"])
    texts = set()
    for where, names in (
        (room, [eve]),
        (room, ["nobody"]),
        (room, [bob, bob]),
        (room, ["@all", bob]),
        (room, [bob] * 51),
        (chat, ["@all"]),
    ):
        with pytest.raises(Invalid) as refused:
            await house.say(ada, where, mentions=names)
        assert refused.value.field == "mentions"
        if names in ([eve], ["nobody"]):
            texts.add(str(refused.value))
    assert len(texts) == 1, "an unknown user and a non-member look alike"
    await house.say(ada, room, "of nobody", mentions=[])
    newest = (await house.call(ada, "history", conversation=room))["messages"][-1]
    assert (newest["body"], "mentions" in newest) == ({"text": "of nobody"}, False)


async def test_a_reply_quotes_what_its_writer_may_see(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada)
    await house.say(ada, room, "before bob")
    await house.call(ada, "group.invite", conversation=room, users=[bob])
    said = await house.say(ada, room, "x" * 300)
    for hidden in (1, 99):
        with pytest.raises(NotFound):
            await house.say(bob, room, reply_to=hidden)
    await house.say(bob, room, reply_to=said["seq"])
    page = await house.call(bob, "history", conversation=room)
    quote = page["messages"][-1]["reply_to"]
    assert (quote["seq"], quote["sender"], quote["kind"]) == (said["seq"], ada, "text")
    assert 0 < len(quote["text"]) <= 100


async def test_a_reply_in_the_same_batch_as_what_it_quotes(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    await asyncio.gather(house.say(ada, room, "question"), house.say(ada, room, "answer", reply_to=1))
    said = (await everything(house, ada, room))[1]
    assert said["reply_to"] == {"seq": 1, "sender": ada, "kind": "text", "text": "question"}


async def test_a_recalled_message_is_quoted_without_its_text(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    await house.say(ada, room, "secret")
    await house.call(ada, "message.recall", conversation=room, seq=1)
    await house.say(ada, room, reply_to=1)
    said = (await everything(house, ada, room))[-1]
    assert said["reply_to"] == {"seq": 1, "sender": ada, "kind": "recalled", "text": ""}


@pytest.mark.parametrize(
    ("kind", "body", "field", "limit"),
    [
        ("text", {"text": "x" * 8193}, "body.text", 8192),
        ("text", {"text": "字" * 8193}, "body.text", 8192),
        ("text", {"text": ""}, "body.text", None),
        ("text", {"text": " \n\t　"}, "body.text", None),
        ("text", {"text": 5}, "body.text", None),
        ("text", {}, "body.text", None),
        ("text", "hello", "body", None),
        ("system", {"event": "x", "actor": "x", "subjects": [], "args": {}}, "kind", None),
        ("no-such-kind", {}, "kind", None),
        ("location", {"lat": 91.0, "lon": 0.0}, "body.lat", 90),
    ],
)
async def test_a_body_out_of_bounds_names_field_and_limit(
    house: House, kind: str, body: Any, field: str, limit: int | None
) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    with pytest.raises(Invalid) as refused:
        await house.call(ada, "submit", conversation=room, kind=kind, body=body)
    assert refused.value.field == field
    if limit is not None:
        assert refused.value.limit == limit
        assert str(limit) in str(refused.value)
    assert (await house.rows(select(func.count()).select_from(message)))[0][0] == 0


@pytest.mark.parametrize("text", ["x", "字" * 8192, "😀" * 8192, "\x01" * 8191 + "x", "a\\\"\n</script>'; --"])
async def test_a_text_within_bounds_comes_back_as_it_was(house: House, text: str) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    await house.say(ada, room, text)
    assert (await everything(house, ada, room))[0]["body"] == {"text": text}


async def test_null_for_an_optional_field_is_as_absent(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    await house.say(ada, room, reply_to=None, mentions=None)
    await house.call(ada, "submit", conversation=room, kind="location", body={"lat": 1.0, "lon": 2.0, "label": None})
    said = await everything(house, ada, room)
    assert not {"reply_to", "mentions", "edited_at", "recalled", "reactions"} & said[0].keys()
    assert said[1]["body"] == {"lat": 1.0, "lon": 2.0}
