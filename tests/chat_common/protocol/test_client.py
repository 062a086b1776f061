"""The client's session against a scripted server: counting, acknowledging, resuming, repeating, healing."""

from __future__ import annotations

import random
from typing import Any

import pytest
from chat_common.clock import ManualClock
from chat_common.errors import Invalid, NotAuthenticated, NotFound
from chat_common.protocol import client_events as events
from chat_common.protocol.client import ACK_DELAY, ACK_EVERY, ClientSession
from chat_common.protocol.frames import (
    Ack,
    Beat,
    Bye,
    Call,
    Device,
    Error,
    Hello,
    Lagged,
    Note,
    Push,
    Reply,
    Resume,
    Welcome,
)
from chat_common.wire import Limits, User

from tests.support.reference_server import HEARTBEAT, ReferenceConnection, ReferenceRoom, ReferenceServer

DEVICE = Device("d1", "test")


def welcome(session: str = "s1", *, resumed: bool = False, epoch: str = "e1", user: str | None = "ann") -> Welcome:
    known: dict[str, Any] = {} if user is None else {"user": User(user=user, name=user)}
    return Welcome(
        session=session,
        resumed=resumed,
        device="d1",
        epoch=epoch,
        version=0,
        heartbeat=HEARTBEAT,
        resume_for=60,
        window=256,
        limits=Limits(),
        server_time=0,
        node="n",
        **known,
    )


class Desk:
    """A session, a clock, and a line to a reference server that can be cut."""

    def __init__(self, server: ReferenceServer, user: str, *, whole: bool = True) -> None:
        self.clock = ManualClock()
        self.server = server
        self.session = ClientSession(Device(f"d-{user}", "test"), user, whole=whole)
        self.events: list[events.Event] = []
        self.line: ReferenceConnection | None = None
        self.refs = 0

    def connect(self) -> None:
        self.line = self.server.connect()
        self.session.connected(self.clock.monotonic())

    def cut(self, code: int | None = None) -> None:
        if self.line is not None:
            self.line.lose()
            self.line = None
            self.session.lost(code, self.clock.monotonic())

    def turn(self) -> bool:
        """One exchange; False when both sides had nothing to say."""
        assert self.line is not None
        frames = self.session.take_frames(self.clock.monotonic())
        for frame in frames:
            self.line.receive(frame)
        answers, self.line.out = self.line.out, []
        for answer in answers:
            self.session.receive(answer, self.clock.monotonic())
        self.events += self.session.take_events()
        return bool(frames or answers)

    def settle(self) -> None:
        while self.turn():
            pass

    def call(self, command: str, **params: Any) -> str:
        self.refs += 1
        ref = f"{self.server.time}-{self.session.device.id}-{self.refs}"
        self.session.call(ref, command, params)
        return ref

    def say(self, conversation: str, text: str) -> str:
        return self.call("submit", conversation=conversation, kind="text", body={"text": text})

    def heard(self, conversation: str) -> list[int]:
        told = [event.message for event in self.events if isinstance(event, events.MessageReceived)]
        return [message.seq for message in told if message.conversation == conversation]


def settle(*desks: Desk) -> None:
    for desk in desks:
        desk.settle()


def fresh(server: ReferenceServer, user: str) -> dict[str, Any]:
    desk = Desk(server, user)
    desk.connect()
    desk.settle()
    return desk.session.state.picture()


def greeted(session: ClientSession, now: float = 0.0, name: str = "s1", **about: Any) -> None:
    session.connected(now)
    session.take_frames(now)
    session.receive(welcome(name, **about), now)
    session.take_frames(now)
    session.take_events()


def push(n: int, conversation: str = "c1", **more: Any) -> Push:
    row = {"conversation": conversation, "seq": n, "rev": n, "sender": "bob", "ref": f"r{n}", "kind": "text"}
    return Push("message", {**row, "time": n, "body": {"text": "x"}, **more})


# --- hello, resume, life --------------------------------------------------------------------------------------------


def test_hello_names_token_and_device_and_resumes_after_a_loss() -> None:
    session = ClientSession(DEVICE, "token")
    session.connected(0)
    assert session.take_frames(0) == [Hello(DEVICE, "token")]
    session.receive(welcome(), 0)
    session.receive(push(1), 0)
    assert session.lost(None, 1) == "resume"
    session.connected(2)
    assert session.take_frames(2) == [Hello(DEVICE, "token", Resume("s1", 1))]


def test_a_refused_resume_counts_from_zero_again() -> None:
    session = ClientSession(DEVICE, "token")
    greeted(session)
    session.receive(push(1), 0)
    session.lost(None, 0)
    greeted(session, name="s2")
    assert (session.received, session.acked) == (0, 0)


@pytest.mark.parametrize(
    ("bye", "code", "how", "resumes"),
    [
        (None, 1006, "resume", True),
        (None, None, "resume", True),
        (None, 4100, "sync", False),
        (None, 4401, "never", False),
        (Bye(4000, "restart", "resume"), 1006, "resume", True),
        (Bye(4101, "epoch", "sync"), 1006, "sync", False),
        (Bye(4409, "kicked", "never"), 4000, "never", False),
    ],
)
def test_bye_and_close_code_say_how_to_come_back(bye: Bye | None, code: int | None, how: str, resumes: bool) -> None:
    session = ClientSession(DEVICE, "token")
    greeted(session)
    if bye is not None:
        session.receive(bye, 0)
    assert session.lost(code, 0) == how
    if how == "never":
        assert session.phase == "over"
    else:
        session.connected(1)
        (hello,) = session.take_frames(1)
        assert isinstance(hello, Hello)
        assert (hello.resume is not None) == resumes


def test_silence_for_one_and_a_half_heartbeats_is_death() -> None:
    session = ClientSession(DEVICE, None)
    greeted(session, 0.0, user=None)
    assert session.deadline() == 1.5 * HEARTBEAT
    assert session.poll(1.5 * HEARTBEAT - 0.01)
    session.receive(Note("typing", {}), 10.0)
    assert session.poll(1.5 * HEARTBEAT)
    assert not session.poll(10.0 + 1.5 * HEARTBEAT)


def test_a_hello_that_is_refused_ends_the_session() -> None:
    session = ClientSession(DEVICE, "token")
    session.connected(0)
    session.receive(Error("invalid", "device.id: too long"), 0)
    assert session.phase == "over"
    assert isinstance(session.take_events()[-1], events.Ended)


def test_a_renewed_token_is_used_next_time() -> None:
    session = ClientSession(DEVICE, "old")
    greeted(session)
    session.receive(Push("token", {"token": "new", "expires_at": 1}), 0)
    assert session.take_events() == [events.TokenRenewed("new", 1)]
    session.lost(None, 0)
    session.connected(0)
    (hello,) = session.take_frames(0)
    assert isinstance(hello, Hello)
    assert hello.token == "new"


# --- acknowledging --------------------------------------------------------------------------------------------------


def test_acks_every_few_pushes_or_after_a_moment() -> None:
    session = ClientSession(DEVICE, None)
    greeted(session, user=None)
    for n in range(ACK_EVERY - 1):
        session.receive(Push("login", {"n": n}), 1.0)
    assert session.take_frames(1.0) == []
    assert session.deadline() == 1.0 + ACK_DELAY
    session.receive(Push("login", {}), 1.1)
    assert session.take_frames(1.1) == [Ack(ACK_EVERY)]
    session.receive(Push("login", {}), 2.0)
    session.poll(2.0 + ACK_DELAY)
    assert session.take_frames(2.3) == [Ack(ACK_EVERY + 1)]


def test_a_beat_is_answered_at_once_and_not_counted_while_lagged_is() -> None:
    session = ClientSession(DEVICE, None)
    greeted(session, user=None)
    session.receive(Lagged(), 0)
    session.receive(Beat(0, 0), 0)
    assert session.take_frames(0) == [Ack(1)]


# --- calls ----------------------------------------------------------------------------------------------------------


def test_unanswered_calls_are_repeated_in_order_and_answered_once() -> None:
    session = ClientSession(DEVICE, None)
    session.call("a", "one", {"n": 1})
    greeted(session, user=None)
    session.call("b", "two")
    session.call("b", "two")
    session.call("c", "three")
    assert [f.ref for f in session.take_frames(0) if isinstance(f, Call)] == ["b", "c"]
    session.receive(Reply("b", {"ok": 1}), 0)
    session.receive(Reply("b", {"ok": 2}), 0)
    assert session.take_events() == [events.Answered("b", {"ok": 1})]
    session.lost(1006, 0)
    assert session.take_events() == [events.Disconnected(1006)]
    session.call("d", "four")
    session.connected(0)
    session.receive(welcome("s2", user=None), 0)
    assert [f.ref for f in session.take_frames(0) if isinstance(f, Call)] == ["a", "c", "d"]


def test_errors_come_as_their_classes() -> None:
    session = ClientSession(DEVICE, None)
    greeted(session, user=None)
    session.call("a", "x")
    session.call("b", "x")
    session.receive(Error("not_found", "no such thing", "a"), 0)
    session.receive(Error("invalid", "text: too long", "b", "text", 5), 0)
    first, second = session.take_events()
    assert isinstance(first, events.Answered)
    assert isinstance(first.error, NotFound)
    assert isinstance(second, events.Answered)
    assert isinstance(second.error, Invalid)
    assert (second.error.field, second.error.limit) == ("text", 5)


def test_the_end_fails_open_calls_with_its_reason() -> None:
    session = ClientSession(DEVICE, "t")
    greeted(session)
    session.call("a", "x")
    session.receive(Bye(4401, "logged out", "never"), 0)
    assert session.lost(4401, 0) == "never"
    answer, ended = [e for e in session.take_events() if isinstance(e, events.Answered | events.Ended)]
    assert isinstance(answer, events.Answered)
    assert isinstance(answer.error, NotAuthenticated)
    assert isinstance(ended, events.Ended)
    assert (ended.code, ended.reason) == (4401, "logged out")
    with pytest.raises(NotAuthenticated):
        session.call("b", "x")


# --- healing --------------------------------------------------------------------------------------------------------


def room(server: ReferenceServer, *users: str) -> str:
    for user in users:
        server.versions.setdefault(user, 0)
        server.inbox.setdefault(user, {})
    name: str = server.create(users[0], list(users[1:]))["conversation"]
    return name


def test_pushes_that_fit_are_told_once_and_without_a_sync() -> None:
    server = ReferenceServer()
    ann, bob = Desk(server, "ann"), Desk(server, "bob")
    for desk in (ann, bob):
        desk.connect()
        desk.settle()
    name = room(server, "ann", "bob")
    settle(ann, bob)
    server.calls.clear()
    ann.say(name, "1")
    ann.say(name, "2")
    settle(ann, bob)
    assert ann.heard(name) == bob.heard(name) == [1, 2]
    assert {command for _, command in server.calls} == {"submit"}


def test_a_jump_is_synced_and_what_is_news_is_told_in_order() -> None:
    server = ReferenceServer(page=2)
    name = room(server, "ann", "bob")
    ann = Desk(server, "ann")
    ann.connect()
    ann.settle()
    server.drop = 1.0
    for n in range(5):
        server.submit("bob", f"r{n}", {"conversation": name, "kind": "text", "body": {"text": str(n)}})
    server.edit("bob", {"conversation": name, "seq": 1, "body": {"text": "edited"}})
    server.drop = 0.0
    server.submit("bob", "r9", {"conversation": name, "kind": "text", "body": {"text": "9"}})
    ann.settle()
    assert ann.heard(name) == [1, 2, 3, 4, 5, 6]
    assert ann.session.state.picture() == fresh(server, "ann")


def test_a_message_that_was_changed_before_it_was_pushed_is_not_overtaken() -> None:
    server = ReferenceServer()
    name = room(server, "ann", "bob")
    ann = Desk(server, "ann")
    ann.connect()
    ann.settle()
    held = ann.session.state.rooms[name].rev or 0
    server.drop = 1.0
    for n in range(2):
        server.submit("bob", f"r{n}", {"conversation": name, "kind": "text", "body": {"text": str(n)}})
    server.edit("bob", {"conversation": name, "seq": 1, "body": {"text": "edited"}})
    # Read from the log a gap is its rows as they are now: the second message first, then the first one, edited.
    ann.session.receive(push(2, name, rev=held + 2, since=held), 0)
    ann.session.receive(push(1, name, rev=held + 3), 0)
    ann.settle()
    assert ann.heard(name) == [1, 2]
    assert ann.session.state.picture() == fresh(server, "ann")


def test_since_covers_steps_that_were_not_pushed() -> None:
    server = ReferenceServer()
    name = room(server, "ann", "bob")
    ann = Desk(server, "ann")
    ann.connect()
    ann.settle()
    server.calls.clear()
    ann.session.receive(push(5, name, seq=1, since=1), 0)
    assert ann.session.state.rooms[name].rev == 5
    ann.session.receive(push(5, name, seq=2, since=1), 0)
    ann.session.receive(push(4, name, seq=3), 0)
    assert sorted(ann.session.state.rooms[name].messages) == [1]
    assert not [frame for frame in ann.session.take_frames(0) if isinstance(frame, Call)]
    ann.session.receive(push(8, name, seq=4, since=6), 0)
    (call,) = [frame for frame in ann.session.take_frames(0) if isinstance(frame, Call)]
    assert call.params == {"epoch": "e1", "conversation": name, "rev": 5, "limit": 100}  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("how", ["behind", "lagged", "refused resume"])
def test_a_loss_that_no_jump_shows_is_healed(how: str) -> None:
    server = ReferenceServer()
    name = room(server, "ann", "bob")
    ann = Desk(server, "ann")
    ann.connect()
    ann.settle()
    server.drop = 1.0
    server.submit("bob", "r1", {"conversation": name, "kind": "text", "body": {"text": "1"}})
    server.drop = 0.0
    ann.settle()
    assert ann.heard(name) == []
    if how == "behind":
        server.beat()
    elif how == "lagged":
        server.lag("ann")
    else:
        ann.cut()
        server.restart()
        ann.connect()
    ann.settle()
    assert ann.heard(name) == [1]
    assert ann.session.settled


def test_the_version_is_not_taken_from_a_beat_while_a_sync_is_owed() -> None:
    session = ClientSession(DEVICE, "t")
    greeted(session)
    state = session.state
    session.receive(Beat(9, 0), 0)
    assert state.version is None


def test_a_sync_owed_survives_lost_connections() -> None:
    server = ReferenceServer(page=1)
    for n in range(4):
        room(server, "ann", f"u{n}")
    ann = Desk(server, "ann")
    for _ in range(40):
        ann.connect()
        for _ in range(3):
            ann.turn()
        if ann.session.settled:
            break
        ann.cut()
    assert ann.session.settled
    assert ann.session.state.picture() == fresh(server, "ann")


def test_another_epoch_starts_over() -> None:
    server = ReferenceServer()
    name = room(server, "ann", "bob")
    ann = Desk(server, "ann")
    ann.connect()
    ann.say(name, "lost by the restore")
    ann.settle()
    ann.cut(4101)
    restored = ReferenceServer()
    restored.epoch = "e2"
    room(restored, "ann", "bob")
    ann.server = restored
    ann.connect()
    ann.settle()
    assert [e.epoch for e in ann.events if isinstance(e, events.StartedOver)] == ["e2"]
    assert ann.session.state.picture() == fresh(restored, "ann")


def test_errors_of_a_sync_are_tried_again_later() -> None:
    session = ClientSession(DEVICE, "t")
    session.connected(0)
    session.receive(welcome(), 0)
    session.take_frames(0)
    session.receive(Error("rate_limited", "slow", "sync-1", retry_after=3.0), 1.0)
    assert session.take_frames(1.0) == []
    assert session.deadline() == 4.0
    (call,) = session.take_frames(4.0)
    assert isinstance(call, Call)
    assert call.command == "inbox.list"


class Stamping(ReferenceServer):
    """Now and then pushes a bare stamp in place of a message, so that the receiver believes that nothing is missing."""

    hidden = 0

    def deliver(self, room: ReferenceRoom, event: str, data: dict[str, Any], told: list[str] | None = None) -> None:
        if event == "message" and "edited_at" not in data and self.drop and self.random.random() < 0.1:
            self.hidden += 1
            event, data = "members", {"conversation": room.name, "rev": data["rev"], "members": []}
        super().deliver(room, event, data, told)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_lost_every_copy_ends_equal_and_told_in_order(seed: int) -> None:
    for desk in stormy(ReferenceServer(seed=seed, drop=0.2, page=[1, 3, 50][seed % 3]), seed):
        assert not [e for e in desk.events if isinstance(e, events.GapFound)]


def test_numbers_that_no_stamp_shows_as_missing_are_asked_for_and_counted() -> None:
    hidden = found = 0
    for seed in range(40):
        server = Stamping(seed=seed, drop=0.2, page=[1, 3, 50][seed % 3])
        desks = stormy(server, seed)
        hidden += server.hidden
        told = [event for desk in desks for event in desk.events if isinstance(event, events.GapFound)]
        assert sum(len(event.found) for event in told) == sum(desk.session.gaps for desk in desks)
        found += sum(desk.session.gaps for desk in desks)
    assert hidden > 100
    assert found > 50


def stormy(server: ReferenceServer, seed: int) -> list[Desk]:
    """Three people talk, come and go and lose their lines; at the end every copy is checked."""
    dice = random.Random(seed)
    users = ["ann", "bob", "eve"]
    desks = [Desk(server, user) for user in users]
    for desk in desks:
        desk.connect()
    names = [room(server, "ann", "bob"), room(server, "bob", "eve", "ann"), room(server, "eve")]
    for _ in range(120):
        desk = dice.choice(desks)
        if desk.line is None:
            desk.connect()
        name, other = dice.choice(names), dice.choice(users)
        match dice.randrange(12):
            case 0:
                desk.cut()
            case 1:
                server.beat()
            case 2:
                server.lag(dice.choice(users))
            case 3:
                desk.call("group.invite", conversation=name, users=[other])
            case 4:
                desk.call("group.kick", conversation=name, users=[other])
            case 5 if server.rooms[name].rows:
                seq = dice.randint(1, len(server.rooms[name].rows))
                desk.call("message.edit", conversation=name, seq=seq, body={"text": "edited"})
            case 6 if dice.random() < 0.2:
                for each in desks:
                    each.cut()
                server.restart()
            case _:
                desk.say(name, str(dice.random()))
        if desk.line is not None:
            desk.turn()
    server.drop = 0.0
    for name in names:  # a message that was the last one is missed as soon as another one follows
        for user in server.rooms[name].current()[:1]:
            server.submit(user, f"last-{name}", {"conversation": name, "kind": "text", "body": {"text": "bye"}})
    for desk in desks:
        if desk.line is None:
            desk.connect()
        desk.settle()
    server.beat()
    for desk in desks:
        desk.settle()
        user = desk.session.device.id.removeprefix("d-")
        for name in names:  # no hint tells one who has left of later edits
            desk.session.resync(name)
        desk.settle()
        assert desk.session.settled
        assert not desk.session.open_calls
        assert desk.session.state.picture() == fresh(server, user)
        for name in names:
            assert desk.heard(name) == sorted(set(desk.heard(name)))
            assert not [e for e in desk.events if isinstance(e, events.Refused)]
    return desks


def test_a_sync_that_was_under_way_when_one_came_back_does_not_count() -> None:
    server = ReferenceServer()
    name = room(server, "ann", "bob")
    ann = Desk(server, "ann")
    ann.connect()
    ann.settle()
    server.part(server.rooms[name], ["ann"])
    ann.settle()
    server.join(server.rooms[name], ["eve"])  # what ann may not see, and what the sync passes over
    assert ann.line is not None
    ann.session.resync(name)
    for frame in ann.session.take_frames(0):
        ann.line.receive(frame)
    late, ann.line.out = ann.line.out, []
    server.join(server.rooms[name], ["ann"])
    ann.line.out += late
    ann.settle()
    assert ann.session.state.picture() == fresh(server, "ann")


def test_a_client_that_is_not_whole_begins_at_what_is_unread() -> None:
    server = ReferenceServer(page=50)
    old, new = room(server, "ann", "bob"), room(server, "ann", "bob")
    for n in range(3):
        server.submit("ann", f"o{n}", {"conversation": old, "kind": "text", "body": {"text": "mine"}})
        server.submit("bob", f"n{n}", {"conversation": new, "kind": "text", "body": {"text": "theirs"}})
    server.inbox["ann"][new]["read"] = 1
    ann = Desk(server, "ann", whole=False)
    ann.connect()
    ann.settle()
    assert ann.heard(old) == []
    assert ann.heard(new) == [2, 3]
    assert ann.session.settled
    later = room(server, "bob", "ann")
    server.submit("bob", "x", {"conversation": later, "kind": "text", "body": {"text": "hello"}})
    server.submit("bob", "y", {"conversation": old, "kind": "text", "body": {"text": "again"}})
    ann.settle()
    assert ann.heard(later) == [1]
    assert ann.heard(old) == [4]
    ann.call("history", conversation=old, limit=50)
    ann.settle()
    assert ann.heard(old) == [4]
    assert [m.seq for m in ann.session.state.rooms[old].timeline()] == [1, 2, 3, 4]


def test_who_is_let_in_again_while_a_sync_of_several_pages_runs_is_told_what_had_come() -> None:
    """Not `whole`: the copy is emptied at the return, and what the first page had brought is told before that."""
    server = ReferenceServer(page=3)
    name = room(server, "ann", "bob")
    ann = Desk(server, "ann", whole=False)
    ann.connect()
    ann.settle()
    server.drop = 1.0
    for n in range(9):
        server.submit("bob", f"r{n}", {"conversation": name, "kind": "text", "body": {"text": str(n)}})
    server.drop = 0.0
    server.submit("bob", "r9", {"conversation": name, "kind": "text", "body": {"text": "9"}})
    ann.turn()  # the push, which is a jump
    ann.turn()  # the first page of the sync
    assert ann.heard(name) == []
    server.part(server.rooms[name], ["ann"])
    server.submit("bob", "r10", {"conversation": name, "kind": "text", "body": {"text": "not for ann"}})
    server.join(server.rooms[name], ["ann"])
    server.submit("bob", "r11", {"conversation": name, "kind": "text", "body": {"text": "welcome back"}})
    ann.settle()
    heard = ann.heard(name)
    assert heard[:3] == [1, 2, 3]
    assert heard[-1] == 12
    assert 11 not in heard
    assert heard == sorted(set(heard))
    assert ann.session.settled


def test_a_page_of_what_is_unread_begins_the_copy_where_it_begins() -> None:
    """What lies before the newest page is no gap: it is fetched when it is asked for, and joins the copy then."""
    server = ReferenceServer(page=50)
    name = room(server, "ann", "bob")
    for n in range(130):
        server.submit("bob", f"r{n}", {"conversation": name, "kind": "text", "body": {"text": str(n)}})
    ann = Desk(server, "ann", whole=False)
    ann.connect()
    ann.settle()
    assert ann.heard(name) == list(range(31, 131))
    assert not [event for event in ann.events if isinstance(event, events.GapFound)]
    ann.call("history", conversation=name, before=31, limit=10)
    ann.settle()
    assert sorted(ann.session.state.rooms[name].messages)[:10] == list(range(21, 31))
    assert ann.heard(name) == list(range(31, 131))


@pytest.mark.parametrize("answer", ["empty", "refused"])
def test_a_number_that_the_server_does_not_have_is_asked_for_once(answer: str) -> None:
    session = ClientSession(DEVICE, "ann", whole=True)
    greeted(session)
    session.receive(Reply("sync-1", {"inbox": [inbox_row(head=1)], "version": 1, "epoch": "e1"}), 0)
    session.take_frames(0)
    for ref in ("sync-2", "sync-3", "sync-4"):  # contacts, the room from its beginning, the versions
        empty = {"contacts": [], "inbox": [], "messages": [], "members": [], "hot": [], "more": False, "version": 1}
        session.receive(Reply(ref, {**empty, "rev": 1}), 0)
        asked = session.take_frames(0)
        if any(isinstance(call, Call) and call.command == "history" for call in asked):
            break
    (call,) = [call for call in asked if isinstance(call, Call) and call.command == "history"]
    assert call.params == {"conversation": "c1", "after": 0, "limit": 100}  # type: ignore[comparison-overlap]
    if answer == "empty":
        session.receive(Reply(call.ref, {"messages": [], "first_seq": 1, "head": {"seq": 1, "rev": 1}}), 0)
    else:
        session.receive(Error("invalid", "no", call.ref), 0)
    session.receive(Push("inbox", inbox_row(head=1, version=2)), 0)
    assert not [frame for frame in session.take_frames(0) if isinstance(frame, Call) and frame.command == "history"]
    assert session.gaps == 0
    told = [event for event in session.take_events() if isinstance(event, events.GapFound)]
    assert told == [events.GapFound("c1", 1, 1, ())]


def inbox_row(head: int, version: int = 1) -> dict[str, Any]:
    return {
        "conversation": "c1",
        "version": version,
        "kind": "group",
        "spans": [[1]],
        "first_seq": 1,
        "head": {"seq": head, "rev": head, "time": 1},
        "read": 0,
        "unread": 0,
        "role": "member",
        "order": 1,
    }
