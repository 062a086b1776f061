"""History, sync and the inbox: bounded pages, nothing split, nothing beyond one's intervals."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from chat_common.errors import EpochChanged, Invalid, NotAMember, NotFound

from tests.chat_server.house import House, seqs


async def with_a_hole(house: House) -> tuple[str, str, str]:
    """bob's spans hold 1-3 and 7-…; 4, 5, 6 were said while he was away (4 is the system message of his leaving)."""
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    for _ in range(3):
        await house.say(ada, room)
    await house.call(bob, "group.leave", conversation=room)
    for _ in range(2):
        await house.say(ada, room, "away")
    await house.call(ada, "group.invite", conversation=room, users=[bob])
    await house.say(ada, room)
    return ada, bob, room


async def test_history_steps_over_the_hole_between_two_intervals(house: House) -> None:
    _, bob, room = await with_a_hole(house)
    page = await house.call(bob, "history", conversation=room)
    assert (seqs(page), page["first_seq"], page["head"]["seq"]) == ([1, 2, 3, 7, 8], 1, 8)
    asked: list[tuple[dict[str, Any], list[int]]] = [
        ({"before": 8, "limit": 2}, [3, 7]),
        ({"before": 6, "limit": 2}, [2, 3]),
        ({"before": 1}, []),
        ({"after": 2, "limit": 2}, [3, 7]),
        ({"after": 4, "limit": 1}, [7]),
        ({"after": 8}, []),
        ({"after": 0, "limit": 100}, [1, 2, 3, 7, 8]),
        ({"limit": 1}, [8]),
    ]
    for params, wanted in asked:
        assert seqs(await house.call(bob, "history", conversation=room, **params)) == wanted, params


async def test_history_with_both_ends_or_a_limit_out_of_range_is_invalid(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("after", {"before": 5, "after": 1}),
        ("limit", {"limit": 0}),
        ("limit", {"limit": 101}),
        ("before", {"before": -1}),
    ]
    for field, params in asked:
        with pytest.raises(Invalid) as refused:
            await house.call(ada, "history", conversation=room, **params)
        assert refused.value.field == field


async def test_a_newcomer_s_history_begins_where_he_came(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada)
    await house.say(ada, room, "before")
    await house.call(ada, "group.invite", conversation=room, users=[bob])
    page = await house.call(bob, "history", conversation=room, after=0)
    assert (seqs(page), page["first_seq"]) == ([2], 2)


async def test_one_who_has_left_reads_his_own_time_and_nothing_of_after(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.say(ada, room)
    await house.call(ada, "group.kick", conversation=room, users=[bob])
    left = await house.call(bob, "sync", epoch=house.rooms.epoch, conversation=room, rev=0)
    for _ in range(5):
        await house.say(ada, room, "secret")
    await house.call(ada, "group.update", conversation=room, name="secret", announcement="secret")
    await house.pump()
    page = await house.call(bob, "history", conversation=room)
    assert (seqs(page), page["head"]["seq"]) == ([1], 1)
    now = await house.call(bob, "sync", epoch=house.rooms.epoch, conversation=room, rev=0)
    assert now == left
    entry = (await house.call(bob, "inbox.list"))["inbox"][0]
    assert (entry["left"], entry["head"]["seq"]) == (True, 1)
    answers = [page, now, entry, await house.call(bob, "sync", epoch=house.rooms.epoch, version=0)]
    assert b"secret" not in msgspec.json.encode([page, now, answers[3]["contacts"]])
    for command, params in (
        ("group.members", {}),
        ("group.get", {}),
        ("message.readers", {"seq": 1}),
        ("message.react", {"seq": 1, "emoji": "👍", "on": True}),
        ("group.leave", {}),
    ):
        with pytest.raises(NotAMember):
            await house.call(bob, command, conversation=room, **params)


async def test_the_own_entry_of_a_group_that_one_has_left_can_be_read_and_hidden(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    for _ in range(3):
        await house.say(ada, room)
    await house.call(ada, "group.kick", conversation=room, users=[bob])
    await house.say(ada, room)
    await house.pump()
    assert await house.call(bob, "read", conversation=room, seq=2) == {"read": 2, "unread": 1}
    assert await house.call(bob, "read", conversation=room, seq=100) == {"read": 3, "unread": 0}
    (entry,) = (await house.call(bob, "inbox.list"))["inbox"]
    assert (entry["left"], entry["read"], entry["unread"]) == (True, 3, 0)
    hidden = await house.call(bob, "inbox.set", conversation=room, hidden=True)
    assert (hidden["left"], hidden["hidden"]) == (True, True)
    head = (await house.call(ada, "history", conversation=room))["head"]
    await house.say(ada, room)
    await house.pump()
    assert (await house.call(bob, "inbox.list"))["inbox"][0]["hidden"] is True, "what others say there is not for him"
    assert (await house.call(ada, "history", conversation=room))["head"]["rev"] == head["rev"] + 1


async def test_a_cursor_is_of_one_list_alone(house: House) -> None:
    ada, bob, cem, dan = await house.users("ada", "bob", "cem", "dan")
    room = await house.group(ada, bob, cem, dan)
    for other in (bob, cem, dan):
        await house.call(ada, "contact.request", user=other)
    lists: list[tuple[str, dict[str, Any]]] = [
        ("contact.list", {}), ("group.members", {"conversation": room}), ("user.search", {"query": "ada"}),
        ("inbox.list", {}), ("message.readers", {"conversation": room, "seq": 1}),
        ("message.search", {"query": "x"}),
    ]  # fmt: skip
    cursor = (await house.call(ada, "contact.list", limit=1))["cursor"]
    for command, params in lists[1:]:
        with pytest.raises(Invalid, match="another list") as refused:
            await house.call(ada, command, cursor=cursor, **params)
        assert refused.value.field == "cursor"
    cursor = (await house.call(ada, "group.members", conversation=room, limit=1))["cursor"]
    assert (await house.call(ada, "group.members", conversation=room, cursor=cursor, limit=1))["members"]
    with pytest.raises(Invalid, match="another list"):
        await house.call(ada, "contact.list", cursor=cursor)
    with pytest.raises(Invalid, match="not given out by this server"):
        await house.call(ada, "contact.list", cursor="nonsense")


async def test_no_answer_grows_beyond_256_kib_however_long_the_texts(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    await asyncio.gather(*(house.say(ada, room, "字" * 8192) for _ in range(100)))
    found: list[int] = []
    rev = 0
    while True:
        page = await house.call(ada, "history", conversation=room, after=len(found), limit=100)
        assert len(msgspec.json.encode(page)) <= 262_144
        if not page["messages"]:
            break
        found += seqs(page)
    assert found == list(range(1, 101))
    synced: list[int] = []
    while True:
        page = await house.call(ada, "sync", epoch=house.rooms.epoch, conversation=room, rev=rev, limit=100)
        assert len(msgspec.json.encode(page)) <= 262_144
        synced += seqs(page)
        rev = page["rev"]
        if not page["more"]:
            break
    assert synced == found


async def test_two_hundred_memberships_of_one_stamp_come_on_one_page(house: House) -> None:
    ada = await house.user("ada")
    others = [await house.user("名" * 60 + f"{i}") for i in range(200)]
    room = await house.group(ada)
    await asyncio.gather(*(house.say(ada, room, "字" * 8192) for _ in range(7)))
    await house.call(ada, "group.invite", conversation=room, users=others)
    for limit in (1, 100):
        rev, pages = 0, []
        while True:
            page = await house.call(ada, "sync", epoch=house.rooms.epoch, conversation=room, rev=rev, limit=limit)
            assert page["rev"] > rev
            assert len(msgspec.json.encode(page)) <= 262_144
            pages.append(page)
            rev = page["rev"]
            if not page["more"]:
                break
        where = [number for number, page in enumerate(pages) for one in page["members"] if one["user"]["user"] != ada]
        assert len(where) == 200
        assert len(set(where)) == 1


async def test_another_epoch_or_a_number_beyond_the_head_starts_over(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    head = (await house.call(ada, "history", conversation=room))["head"]["rev"]
    version = (await house.call(ada, "inbox.list"))["version"]
    epoch = house.rooms.epoch
    for params in (
        {"epoch": "another", "version": 0},
        {"epoch": "another", "conversation": room, "rev": 0},
        {"epoch": epoch, "version": version + 1},
        {"epoch": epoch, "conversation": room, "rev": head + 1},
    ):
        with pytest.raises(EpochChanged):
            await house.call(ada, "sync", **params)
    assert not (await house.call(ada, "sync", epoch=epoch, version=version))["more"]
    assert not (await house.call(ada, "sync", epoch=epoch, conversation=room, rev=head))["more"]


async def test_sync_asks_for_one_thing_at_a_time(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    for params in (
        {},
        {"version": 0, "conversation": room, "rev": 0},
        {"conversation": room},
        {"version": 0, "rev": 0},
        {"version": -1},
    ):
        with pytest.raises(Invalid):
            await house.call(ada, "sync", epoch=house.rooms.epoch, **params)


async def test_a_stranger_cannot_tell_a_foreign_conversation_from_none(house: House) -> None:
    ada, bob, eve = await house.users("ada", "bob", "eve")
    room = await house.group(ada, bob)
    await house.say(ada, room)
    commands: dict[str, dict[str, Any]] = {
        "history": {},
        "sync": {"epoch": house.rooms.epoch, "rev": 0},
        "submit": {"kind": "text", "body": {"text": "x"}},
        "read": {"seq": 1},
        "inbox.set": {"muted": True},
        "message.edit": {"seq": 1, "body": {"text": "x"}},
        "message.recall": {"seq": 1},
        "message.react": {"seq": 1, "emoji": "👍", "on": True},
        "message.reactions": {"seq": 1},
        "message.readers": {"seq": 1},
        "message.report": {"seq": 1},
        "message.search": {"query": "x"},
        "group.get": {},
        "group.update": {"name": "x"},
        "group.members": {},
        "group.invite": {"users": [eve]},
        "group.kick": {"users": [ada]},
        "group.leave": {},
        "group.accept": {},
        "group.reject": {},
        "group.link": {"on": True},
        "group.role": {"user": bob, "role": "admin"},
        "group.mute": {"user": bob, "until": 0},
        "group.transfer": {"user": bob},
        "group.dissolve": {},
    }
    known = {
        command.name
        for room in house.rooms.contributions()
        for command in room.commands
        if "conversation" in getattr(command.request, "__annotations__", {})
        and not command.name.startswith("admin.")  # Who is no administrator is refused before any of it is read.
    }
    assert known == set(commands), "a command on a conversation without its row here"
    for command, params in commands.items():
        told = set()
        for name in (room, "no-such-conversation"):
            with pytest.raises(NotFound) as refused:
                await house.call(eve, command, conversation=name, **params)
            told.add((str(refused.value), refused.value.field, refused.value.limit, refused.value.retry_after))
        assert len(told) == 1, command


# --- the list -----------------------------------------------------------------------------------------------------


async def test_entries_of_one_moment_are_each_on_exactly_one_page(house: House) -> None:
    ada = await house.user("ada")
    rooms = {await house.group(ada) for _ in range(23)}  # the clock stands still: all equally active
    found: list[str] = []
    cursor = None
    while True:
        page = await house.call(ada, "inbox.list", limit=4, cursor=cursor)
        found += [one["conversation"] for one in page["inbox"]]
        cursor = page.get("cursor")
        if cursor is None:
            break
    assert len(found) == len(rooms)
    assert set(found) == rooms


async def test_a_cursor_that_is_none_of_ours_is_invalid(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    for command, params in (("inbox.list", {}), ("contact.list", {}), ("group.members", {"conversation": room})):
        for cursor in ("x", "!!!!", "bnVsbA", "WzEsMl0", "é"):
            with pytest.raises(Invalid) as refused:
                await house.call(ada, command, cursor=cursor, **params)
            assert refused.value.field == "cursor"


async def test_a_direct_chat_appears_with_its_first_message_for_both(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    one = await house.call(ada, "direct.open", user=bob)
    other = await house.call(bob, "direct.open", user=ada)
    assert one["conversation"] == other["conversation"]
    await house.pump()
    for who in (ada, bob):
        assert not (await house.call(who, "inbox.list"))["inbox"]
        assert not (await house.call(who, "sync", epoch=house.rooms.epoch, version=0))["inbox"]
    await house.say(ada, one["conversation"])
    await house.pump()
    for who, peer, unread in ((ada, bob, 0), (bob, ada, 1)):
        entry = (await house.call(who, "inbox.list"))["inbox"][0]
        assert (entry["peer"]["user"], entry["unread"]) == (peer, unread)
        assert (await house.call(who, "sync", epoch=house.rooms.epoch, version=0))["inbox"] == [entry]


async def test_a_chat_with_oneself_works(house: House) -> None:
    ada = await house.user("ada")
    chat = (await house.call(ada, "direct.open", user=ada))["conversation"]
    await house.say(ada, chat, "note")
    await house.pump()
    entry = (await house.call(ada, "inbox.list"))["inbox"][0]
    assert (entry["peer"]["user"], entry["unread"], entry["conversation"]) == (ada, 0, chat)


async def test_unread_counts_from_the_furthest_of_read_joined_and_own(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)

    async def unread() -> int:
        await house.pump()
        return int((await house.call(bob, "inbox.list"))["inbox"][0]["unread"])

    for _ in range(4):
        await house.say(ada, room)
    assert await unread() == 4
    assert (await house.call(bob, "read", conversation=room, seq=2)) == {"read": 2, "unread": 2}
    assert (await house.call(bob, "read", conversation=room, seq=1)) == {"read": 2, "unread": 2}, "forward only"
    await house.say(bob, room)
    assert await unread() == 0
    await house.say(ada, room)
    await house.call(ada, "message.recall", conversation=room, seq=6)
    assert await unread() == 1, "a recalled one counts"
    assert (await house.call(bob, "read", conversation=room, seq=10**9)) == {"read": 6, "unread": 0}, "at most the head"


async def test_mentioned_is_the_newest_unread_one(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)

    async def mentioned() -> int | None:
        await house.pump()
        found = (await house.call(bob, "inbox.list"))["inbox"][0].get("mentioned")
        return None if found is None else int(found)

    await house.say(ada, room, mentions=[bob])
    await house.say(ada, room, mentions=["@all"])
    await house.say(ada, room)
    assert await mentioned() == 2
    await house.call(bob, "read", conversation=room, seq=2)
    assert await mentioned() is None
    await house.say(ada, room, mentions=[bob])
    assert await mentioned() == 4


async def test_a_hidden_entry_comes_back_with_the_next_message_at_the_same_moment_too(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.say(ada, room)
    await house.pump()
    assert (await house.call(bob, "inbox.set", conversation=room, hidden=True, pinned=True))["hidden"]
    await house.call(ada, "message.react", conversation=room, seq=1, emoji="👍", on=True)
    await house.pump()
    assert (await house.call(bob, "inbox.list"))["inbox"][0]["hidden"], "a reaction brings nothing back"
    await house.say(ada, room)
    await house.pump()
    entry = (await house.call(bob, "inbox.list"))["inbox"][0]
    assert "hidden" not in entry
    assert entry["pinned"]


async def test_in_a_direct_chat_the_other_one_sees_how_far_one_has_read(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    chat = (await house.call(ada, "direct.open", user=bob))["conversation"]
    await house.say(ada, chat)
    await house.pump()
    held = (await house.call(ada, "history", conversation=chat))["head"]["rev"]
    await house.call(bob, "read", conversation=chat, seq=1)
    page = await house.call(ada, "sync", epoch=house.rooms.epoch, conversation=chat, rev=held)
    assert [(one["user"]["user"], one["read"]) for one in page["members"]] == [(bob, 1)]


async def test_readers_are_the_members_whose_pointer_passed_it(house: House) -> None:
    ada, *others = await house.users("ada", "bob", "cem", "dan", "eve")
    room = await house.group(ada, *others)
    await house.say(ada, room)
    for who in others[:3]:
        await house.call(who, "read", conversation=room, seq=1)
    await house.call(others[0], "group.leave", conversation=room)
    first = await house.call(ada, "message.readers", conversation=room, seq=1, limit=1)
    rest = await house.call(ada, "message.readers", conversation=room, seq=1, cursor=first["cursor"])
    assert sorted(first["users"] + rest["users"]) == sorted(others[1:3])
    assert first["count"] == 2
    assert "cursor" not in rest
