"""Debts: which calls a client owes itself, in which order, and when they count as paid."""

from __future__ import annotations

from typing import Any

from chat_common.errors import Invalid, NotFound, Unavailable
from chat_common.protocol import client_events as events
from chat_common.protocol.client_jobs import FIRST_PAUSE, Job
from chat_common.protocol.client_state import State
from chat_common.protocol.client_sync import ROOMS_AT_ONCE, Syncer
from chat_common.protocol.frames import Beat, Welcome
from chat_common.wire import Limits, User


def welcome(*, resumed: bool = False) -> Welcome:
    return Welcome(
        session="s", resumed=resumed, user=User(user="ann", name="ann"), device="d", epoch="e", version=0, heartbeat=30,
        resume_for=60, window=256, limits=Limits(), server_time=0, node="n",
    )  # fmt: skip


def row(name: str, *, head: int = 1, version: int = 1, unread: int = 0) -> dict[str, Any]:
    return {
        "conversation": name, "version": version, "kind": "group", "spans": [[1]], "first_seq": 1,
        "head": {"seq": head, "rev": head, "time": 1}, "read": 0, "unread": unread, "role": "member", "order": 1,
    }  # fmt: skip


def listed(*rows: dict[str, Any], whole: bool = False) -> Syncer:
    """A syncer that has read its lists."""
    syncer = Syncer(State(), whole)
    syncer.welcomed(welcome())
    (job,) = syncer.plan(0)
    syncer.answered(job, {"inbox": list(rows), "version": 1, "epoch": "e"})
    return syncer


def commands(jobs: list[Job]) -> list[str]:
    return [f"{job.command} {job.conversation}".strip() for job in jobs]


def test_lists_then_versions_and_rooms_beside_them_some_at_a_time() -> None:
    syncer = listed(*(row(f"c{n}", unread=1) for n in range(ROOMS_AT_ONCE + 2)))
    jobs = syncer.plan(0)
    assert commands(jobs)[0] == "contact.list"
    assert len(jobs) == 1 + ROOMS_AT_ONCE
    assert syncer.plan(0) == []  # everything that may fly does
    message = {"conversation": "c0", "seq": 1, "rev": 1, "sender": "bob", "ref": "r", "kind": "text", "time": 1}
    page = {"messages": [message], "first_seq": 1, "head": {"seq": 1, "rev": 1}}
    syncer.answered(jobs[1], page)
    assert commands(syncer.plan(0)) == [f"history c{ROOMS_AT_ONCE}"]


def test_a_lost_connection_leaves_the_debt_and_answers_of_before_an_emptying_count_for_nothing() -> None:
    syncer = listed(row("c", unread=1))
    before = syncer.plan(0)
    syncer.disconnected()
    assert syncer.plan(0) == []
    syncer.welcomed(welcome(resumed=True))
    assert commands(syncer.plan(0)) == commands(before)
    syncer.start_over("e2")
    for job in before:
        syncer.answered(job, {"messages": [1, 2, 3], "contacts": ["nonsense"]})
    assert syncer.state.rooms == {}


def test_an_error_pauses_everything_and_a_lost_right_ends_the_debt() -> None:
    syncer = listed(row("c", unread=1))
    contacts, page = syncer.plan(0)
    syncer.failed(contacts, Unavailable("not now", retry_after=9.0), 100.0)
    assert syncer.plan(105.0) == []
    assert syncer.deadline() == 109.0
    syncer.failed(page, NotFound("gone"), 109.0)
    assert commands(syncer.plan(109.0 + FIRST_PAUSE)) == ["contact.list"]


def test_settled_is_told_once_when_nothing_is_owed() -> None:
    syncer = listed(row("c"))
    while jobs := syncer.plan(0):
        for job in jobs:
            empty = {"inbox": [], "contacts": [], "items": [], "hot": [], "messages": [], "more": False}
            syncer.answered(job, {**empty, "version": 1, "rev": 1, "epoch": "e"})
    assert syncer.settled
    assert sum(isinstance(event, events.Synced) for event in syncer.told) == 1
    syncer.beat(Beat(5, 0))
    assert syncer.state.version == 5
    syncer.beat(Beat(7, 0, behind=True))
    assert commands(syncer.plan(0)) == ["sync"]
    assert syncer.state.version == 5


def test_a_head_in_the_list_that_the_copy_has_passed_without_the_message_is_asked_for() -> None:
    syncer = listed(row("c"), whole=True)
    stamp = {"conversation": "c", "rev": 1, "members": []}  # the bare stamp of a message that may be seen
    syncer.pushed("members", stamp)
    asked = []
    empty: dict[str, Any] = {"inbox": [], "contacts": [], "items": [], "messages": [], "members": [], "more": False}
    while jobs := syncer.plan(0):
        for job in jobs:
            asked.append(job.kind)
            hot = [{"conversation": "c", "rev": 1, "seq": 1}] if job.kind == "version" else []
            syncer.answered(job, {**empty, "version": 1, "rev": 1, "epoch": "e", "hot": hot})
    assert asked.count("gap") == 1
    assert syncer.told.count(events.GapFound("c", 1, 1, ())) == 1
    assert syncer.settled


def lacking_a_hot_room() -> tuple[Syncer, Job]:
    """A sync has named a conversation that stood on no page of the list."""
    syncer = listed(row("c"))
    (contacts,) = syncer.plan(0)
    syncer.answered(contacts, {"contacts": []})
    (version,) = syncer.plan(0)
    hot = [{"conversation": "c", "rev": 1, "seq": 1}, {"conversation": "h", "rev": 4, "seq": 4}]
    syncer.answered(version, {"version": 1, "more": False, "inbox": [], "contacts": [], "hot": hot})
    (job,) = syncer.plan(0)
    assert (job.command, job.params) == ("inbox.list", {"conversations": ["h"]})
    assert not syncer.settled
    return syncer, job


def test_a_hot_room_without_a_row_is_asked_for_and_begun() -> None:
    syncer, job = lacking_a_hot_room()
    syncer.answered(job, {"inbox": [row("h", head=4, unread=1)], "version": 1, "epoch": "e"})
    assert commands(syncer.plan(0)) == ["history h"]


def test_a_row_that_is_not_mine_any_more_is_not_asked_for_again() -> None:
    syncer, job = lacking_a_hot_room()
    syncer.answered(job, {"inbox": [], "version": 1, "epoch": "e"})
    assert syncer.plan(0) == []
    assert syncer.settled


def test_a_row_that_cannot_be_read_now_is_asked_for_again_and_a_refusal_is_final() -> None:
    syncer, job = lacking_a_hot_room()
    syncer.failed(job, Unavailable("later"), 0)
    (again,) = syncer.plan(FIRST_PAUSE)
    assert again.params == job.params
    syncer.failed(again, Invalid("a server of before"), 1)
    assert syncer.plan(1) == []
    assert syncer.settled


def test_what_was_deleted_before_it_was_told_is_not_told_and_nothing_is_looked_for() -> None:
    syncer = listed(row("c", head=2), whole=True)
    contacts, room = syncer.plan(0)
    syncer.answered(contacts, {"contacts": []})
    about = {"conversation": "c", "sender": "bob", "kind": "text", "time": 1}
    rows = [{**about, "seq": seq, "rev": seq, "ref": f"r{seq}"} for seq in (1, 2)]
    syncer.answered(room, {"rev": 2, "more": True, "messages": rows, "members": []})
    info = {"conversation": "c", "rev": 3, "kind": "group", "members": 2, "first_seq": 2}
    (version, room) = syncer.plan(0)
    syncer.answered(version, {"version": 1, "more": False, "inbox": [], "contacts": [], "hot": []})
    syncer.answered(room, {"rev": 3, "more": False, "messages": [], "members": [], "conversation": info})
    told = [event for event in syncer.told if isinstance(event, events.MessageReceived | events.GapFound)]
    assert told == [events.MessageReceived(syncer.state.room("c").messages[2])]
    assert (syncer.plan(0), syncer.settled) == ([], True)
    syncer.pushed("conversation", {**info, "rev": 4, "first_seq": 3})
    assert (syncer.state.room("c").messages, syncer.plan(0), syncer.settled) == ({}, [], True)
