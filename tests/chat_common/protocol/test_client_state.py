"""A client's copy: which row wins, what the list shows, when two copies are equal."""

from __future__ import annotations

from typing import Any

import attrs
from chat_common.protocol.client_gaps import missing
from chat_common.protocol.client_state import Room, State
from chat_common.wire import Contact, Conversation, Head, Inbox, Member, Message, Quote, Reaction, User
from msgspec import UNSET

ANN, BOB = User(user="ann", name="Ann"), User(user="bob", name="Bob")


def message(seq: int, rev: int | None = None, sender: str = "bob", **more: Any) -> Message:
    body = more.pop("body", {"text": f"text {seq}"})
    about: dict[str, Any] = {
        "conversation": "c",
        "seq": seq,
        "rev": rev or seq,
        "sender": sender,
        "ref": f"r{seq}",
        "time": seq * 1000,
    }
    return Message(**about, kind=more.pop("kind", "text"), body=body, **more)


def inbox(conversation: str = "c", seq: int = 3, rev: int = 3, **more: Any) -> Inbox:
    about: dict[str, Any] = {
        "spans": [[1]],
        "first_seq": 1,
        "read": 0,
        "unread": 1,
        "role": "member",
        "order": 10,
        "version": 5,
    }
    return Inbox(conversation=conversation, kind="group", head=Head(seq=seq, rev=rev, time=0), **{**about, **more})


def member(user: User = BOB, rev: int = 1, spans: list[list[int]] | None = None) -> Member:
    return Member(conversation="c", rev=rev, user=user, role="member", spans=spans or [[1]], joined_at=0)


def test_the_row_stamped_later_wins_in_whatever_order_they_come() -> None:
    room = Room("c")
    old, new = message(1, 1), message(1, 7, body={"text": "edited"})
    assert room.put_message(new)
    assert not room.put_message(old)
    assert not room.put_message(new)
    assert room.messages == {1: new}
    assert room.put_member(member(rev=2))
    assert not room.put_member(member(rev=1))


def test_an_inbox_row_of_a_larger_version_wins_then_one_with_a_later_head() -> None:
    room = Room("c")
    assert room.put_inbox(inbox(version=5))
    assert not room.put_inbox(inbox(version=4, seq=9, rev=9))
    assert room.put_inbox(inbox(version=5, seq=4, rev=4))
    assert not room.put_inbox(inbox(version=UNSET, rev=3))
    assert room.put_inbox(inbox(version=6, rev=1))


def test_the_summary_counts_what_came_since_the_row() -> None:
    room = Room("c", inbox=inbox(seq=3, unread=1))
    for each in (message(2), message(4), message(5, mentions=["ann"]), message(6, kind="system", sender="ann")):
        room.put_message(each)
    row = room.summary("ann")
    assert row is not None
    assert (row.head.seq, row.unread, row.mentioned) == (6, 4, 5)
    room.put_message(message(7, sender="ann"))
    row = room.summary("ann")
    assert row is not None
    assert (row.head.seq, row.unread, row.mentioned) == (7, 0, UNSET)
    assert row.head.preview is not UNSET
    assert row.head.preview.text == "text 7"


def test_the_list_has_pinned_ones_first_then_the_latest_and_no_hidden_ones() -> None:
    state = State(me=ANN)
    rows: dict[str, dict[str, Any]] = {
        "a": {"order": 1},
        "b": {"order": 3},
        "c": {"pinned": True},
        "d": {"hidden": True},
    }
    for name, more in rows.items():
        state.room(name).put_inbox(inbox(name, **more))
    assert [row.conversation for row in state.inbox()] == ["c", "b", "a"]


def test_pictures_are_equal_whatever_way_they_came_about() -> None:
    one, other = State(me=ANN), State(me=ANN)
    for state, order in ((one, (1, 2, 3)), (other, (3, 1, 2))):
        room = state.room("c")
        for seq in order:
            room.put_message(message(seq))
        room.put_member(member())
        room.rev = 3 if state is one else 99
    one.room("c").put_inbox(inbox(seq=3, rev=3, unread=3))
    other.room("c").put_inbox(inbox(seq=2, rev=2, unread=2, version=4, order=77))
    assert one.picture() == other.picture()
    other.room("c").put_message(message(2, 9, body={"text": "edited"}))
    assert one.picture() != other.picture()


def test_of_a_room_that_was_left_only_the_own_membership_counts() -> None:
    one, other = State(me=ANN), State(me=ANN)
    for state in (one, other):
        state.room("c").put_inbox(inbox(left=True, spans=[[1, 3]]))
        state.room("c").put_member(member(ANN, 3, [[1, 3]]))
    one.room("c").put_member(member(BOB))
    assert one.picture() == other.picture()


def test_a_new_name_is_seen_wherever_the_user_stands() -> None:
    state = State(me=ANN)
    state.room("c").put_inbox(inbox())
    state.room("c").put_member(member())
    state.put_contact(Contact(user=BOB, state="friends", version=1))
    assert not state.put_contact(Contact(user=BOB, state="none", version=1))
    state.put_user(attrs.evolve(BOB, name="Robert"))
    picture = state.picture()
    assert picture["rooms"]["c"]["members"]["bob"]["user"]["name"] == "Robert"
    assert picture["contacts"]["bob"]["state"] == "friends"


def test_clearing_forgets_all_but_who_i_am() -> None:
    state = State(me=ANN, epoch="e", version=3)
    state.room("c").put_inbox(inbox())
    state.clear()
    assert (state.me, state.epoch, state.version, state.rooms) == (ANN, None, None, {})


def test_of_a_room_that_was_left_messages_are_compared_by_what_does_not_change_any_more() -> None:
    """A fresh client gets those that changed later with the stamp of leaving and without reactions."""
    pictures = []
    for rev, reactions in ((1, [Reaction(emoji="👍", count=1)]), (7, UNSET)):
        state = State(me=ANN)
        room = state.room("c")
        room.put_inbox(inbox(left=True))
        room.put_message(message(1, rev, reactions=reactions))
        pictures.append(state.picture())
    assert pictures[0] == pictures[1]


def conversation(rev: int, first_seq: int) -> Conversation:
    return Conversation(conversation="c", rev=rev, kind="group", members=2, first_seq=first_seq)


def test_what_was_deleted_is_neither_held_nor_quoted_nor_unread() -> None:
    room = Room("c", rev=9, inbox=inbox(seq=4, rev=4, unread=4, mentioned=2), spans=[[1]])
    quote = Quote(seq=2, sender="bob", kind="text", text="text 2")
    for each in (message(1), message(2), message(3), message(4, reply_to=quote)):
        room.put_message(each)
    assert room.put_info(conversation(9, 3))
    assert (sorted(room.messages), room.messages[4].reply_to) == ([3, 4], UNSET)
    row = room.summary("ann")
    assert row is not None
    assert (row.first_seq, row.unread, row.mentioned) == (3, 2, UNSET)
    assert not room.put_message(message(2, rev=20)), "late, from before it was deleted"
    room.put_message(message(5, reply_to=quote))
    assert room.messages[5].reply_to is UNSET
    assert missing(room) is None, "nobody looks for what was deleted"
    room.put_info(conversation(10, 6))
    row = room.summary("ann")
    assert row is not None
    assert (room.messages, row.unread, row.first_seq, row.head.preview) == ({}, 0, 6, UNSET)
    assert (missing(room), room.skips(6)) == (None, False)


def test_a_row_alone_tells_what_was_deleted_and_quotes_from_before_one_came_stay() -> None:
    room = Room("c", rev=9)
    room.put_inbox(inbox(spans=[[3]], first_seq=3))
    quote = Quote(seq=2, sender="bob", kind="text", text="said before I came")
    room.put_message(message(3, reply_to=quote))
    assert room.messages[3].reply_to == quote
    room.put_message(message(4))
    room.put_inbox(inbox(spans=[[3]], first_seq=4, version=6))
    assert sorted(room.messages) == [4]


def test_behind_a_closed_interval_a_copy_begins_with_the_next_one() -> None:
    room = Room("c", rev=9)
    room.put_inbox(inbox(spans=[[1, 5], [50]], seq=60, rev=60, unread=2))
    room.put_info(conversation(61, 20))
    row = room.summary("ann")
    assert row is not None
    assert row.first_seq == 50
