"""Which numbers count as missing, and what becomes of the answer to the question for them."""

from __future__ import annotations

import pytest
from chat_common.protocol.client_gaps import Gaps, missing
from chat_common.protocol.client_jobs import PAGE
from chat_common.protocol.client_state import Room
from chat_common.wire import Head, Inbox, Message


def message(seq: int, rev: int | None = None) -> Message:
    return Message(
        conversation="c",
        seq=seq,
        rev=rev or seq,
        sender="bob",
        ref=f"r{seq}",
        kind="text",
        body={"text": "x"},
        time=seq,
    )


def room(held: list[int], *, spans: list[list[int]] | None = None, rev: int = 1000, first_seq: int = 1) -> Room:
    spans = spans or [[1]]
    head = Head(seq=1, rev=1, time=1)
    row = Inbox(
        conversation="c",
        kind="group",
        spans=spans,
        first_seq=first_seq,
        head=head,
        read=0,
        unread=0,
        role="member",
        order=1,
    )
    made = Room("c", rev=rev, heard=rev)
    made.put_inbox(row)
    for seq in held:
        made.put_message(message(seq))
    return made


@pytest.mark.parametrize(
    ("held", "spans", "run"),
    [
        ([1, 2, 3], [[1]], None),
        ([], [[1]], None),
        ([1, 2, 5, 6, 9], [[1]], (3, 4)),
        ([3], [[1]], (1, 2)),
        ([3], [[3]], None),
        ([1, 2, 8, 9], [[1, 2], [8]], None),
        ([1, 2, 9], [[1, 2], [8]], (8, 8)),
        ([1, 2, 9], [[1, 3], [9]], (3, 3)),
        ([1, 2], [[1, 2]], None),
        ([500], [[1]], (1, PAGE)),
    ],
)
def test_a_gap_is_what_exists_and_may_be_seen_and_is_not_held(
    held: list[int], spans: list[list[int]], run: tuple[int, int] | None
) -> None:
    assert missing(room(held, spans=spans)) == run


def test_what_the_list_tells_of_counts_once_the_copy_has_passed_its_stamp() -> None:
    it = room([1, 2], rev=5)
    it.head = (6, 4)
    assert missing(it) is None  # 3 and 4 may still be on their way
    it.rev = 6
    assert missing(it) == (3, 4)


def test_the_own_membership_may_know_of_a_hole_before_the_list_does() -> None:
    it = room([1, 2, 9])
    assert missing(it) == (3, 8)
    it.put_spans([[1, 2], [9]])
    assert missing(it) is None
    it.put_spans([[1]])  # an older account
    assert missing(it) is None


def test_what_lies_before_the_copy_or_was_pruned_is_no_gap() -> None:
    it = room([8])
    it.begun_at = 7
    assert missing(it) is None
    assert missing(room([8], first_seq=8)) is None
    it = room([8])
    it.rev = None
    assert missing(it) is None


def test_an_answer_is_taken_up_to_what_was_certain_and_what_it_steps_over_is_given_up() -> None:
    gaps, it = Gaps(), room([1, 6])
    assert gaps.open(it, mark=3)
    job = gaps.job(it, 3)
    assert job is not None
    assert job.params == {"conversation": "c", "after": 1, "limit": PAGE}
    rows, told = gaps.answered(it, [message(2), message(5), message(6), message(7)])
    assert [row.seq for row in rows] == [2, 5, 6]
    assert told is not None
    assert (told.first, told.last, told.found) == (2, 5, (2, 5))
    assert gaps.count == 2
    for row in rows:
        it.put_message(row)
    assert not gaps.open(it, mark=3)  # 3 and 4 do not exist


def test_a_page_that_ends_early_is_followed_by_the_next_question() -> None:
    gaps, it = Gaps(), room([9])
    assert gaps.open(it, mark=0)
    rows, _ = gaps.answered(it, [message(seq) for seq in (1, 2, 3)])
    for row in rows:
        it.put_message(row)
    assert gaps.open(it, mark=0)
    job = gaps.job(it, 0)
    assert job is not None
    assert job.params["after"] == 3


def test_what_came_by_push_meanwhile_is_not_counted() -> None:
    gaps, it = Gaps(), room([1, 3])
    assert gaps.open(it, mark=0)
    it.put_message(message(2))
    rows, told = gaps.answered(it, [message(2), message(3)])
    assert [row.seq for row in rows] == [2, 3]
    assert told is None
    assert gaps.count == 0


def test_a_sync_that_is_owed_or_was_asked_for_anew_comes_first() -> None:
    gaps, it = Gaps(), room([3])
    assert gaps.open(it, mark=0)
    assert gaps.job(it, 1) is None
    it.heard += 1
    assert gaps.job(it, 0) is None
