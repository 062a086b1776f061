"""The server's session, fed and asked: what it answers, when it beats, how it ends and how it goes on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from chat_common.codec.json import JsonCodec
from chat_common.errors import Invalid, NotFound, Unavailable
from chat_common.protocol import frames
from chat_common.protocol.chunk import Chunk
from chat_common.protocol.session import TRANSITIONS, ServerSession, SessionSettings, State
from chat_common.protocol.window import WindowLimits
from chat_common.wire import Limits

codec = JsonCodec()
HELLO = frames.Hello(frames.Device("d", "test"))
T0 = 1000.0


def settings(**changes: Any) -> SessionSettings:
    return SessionSettings(codec, lambda: 7, **changes)


def welcome(*, resumed: bool = False, version: int = 0) -> frames.Welcome:
    return frames.Welcome(
        session="s", resumed=resumed, device="d", epoch="e", version=version, heartbeat=30, resume_for=120, window=256,
        limits=Limits(), server_time=7, node="n",
    )  # fmt: skip


def opened(**changes: Any) -> ServerSession:
    session = ServerSession(settings(**changes), T0)
    assert session.receive(HELLO, T0) is HELLO
    session.welcome(welcome(), T0)
    assert ops(session) == ["welcome"]
    return session


def chunk(*names: str) -> Chunk:
    return Chunk([codec.encode(frames.Push("message", name)) for name in names])


def written(session: ServerSession) -> list[dict[str, Any]]:
    """The frames that wait to be written, decoded."""
    found: list[dict[str, Any]] = []
    for item in session.take():
        found.extend(map(msgspec.json.decode, item.frames if isinstance(item, Chunk) else (item,)))
    return found


def state(session: ServerSession) -> State:
    return session.state  # Asked anew each time: mypy would take the former answer for granted.


def ops(session: ServerSession) -> list[str]:
    return [frame["op"] for frame in written(session)]


def data(session: ServerSession) -> list[str]:
    return [frame.get("data", frame["op"]) for frame in written(session)]


def test_until_welcome_everything_but_hello_is_refused() -> None:
    session = ServerSession(settings(), T0)
    early: tuple[frames.ClientFrame, ...] = (
        frames.Call("r1", "c"),
        frames.Ping(),
        frames.Ack(0),
        frames.ClientNote("t"),
    )
    for frame in early:
        assert session.receive(frame, T0) is None
        assert state(session) is State.NEW
    assert [(frame["code"], frame.get("ref")) for frame in written(session)] == [
        ("not_authenticated", "r1"), ("not_authenticated", None), ("not_authenticated", None),
        ("not_authenticated", None),
    ]  # fmt: skip
    unknown, not_one = JsonCodec().client_frames(b'[{"op": "sing", "ref": "r9"}, 7]')
    for frame in (unknown, not_one):
        assert session.receive(frame, T0) is None
    assert [(frame["code"], frame.get("ref")) for frame in written(session)] == [
        ("not_authenticated", "r9"), ("invalid", None),
    ]  # fmt: skip
    assert session.receive(HELLO, T0) is HELLO
    assert session.receive(frames.Call("r2", "c"), T0) is None
    assert [frame["code"] for frame in written(session)] == ["not_authenticated"]


def test_a_hello_that_is_invalid_or_cannot_be_served_now_may_be_repeated() -> None:
    session = ServerSession(settings(), T0)
    session.receive(frames.BadFrame(Invalid("device.id: wrong", field="device.id")), T0)
    assert session.receive(HELLO, T0) is HELLO
    session.reject(Unavailable("later"))
    assert [frame["code"] for frame in written(session)] == ["invalid", "unavailable"]
    assert session.receive(HELLO, T0) is HELLO


def test_a_second_hello_leaves_the_session_as_it_is() -> None:
    session = opened()
    session.push(chunk("a"), 0, T0)
    assert session.receive(HELLO, T0) is None
    assert state(session) is State.OPEN
    assert ops(session) == ["push", "error"]


def test_pushes_before_welcome_come_after_it() -> None:
    session = ServerSession(settings(), T0)
    session.receive(HELLO, T0)
    session.push(chunk("a"), 6, T0)
    assert not session.pending
    session.welcome(welcome(version=5), T0)
    assert ops(session) == ["welcome", "push"]
    assert session.version == 6


def test_calls_and_notes_are_handed_on_and_ping_is_answered() -> None:
    session = opened()
    call, note = frames.Call("r", "c"), frames.ClientNote("typing")
    assert session.receive(call, T0) is call
    assert session.receive(note, T0) is note
    assert session.receive(frames.Ping(), T0) is None
    session.reply("r", {"a": 1})
    session.refuse(NotFound("no such thing"), "r2")
    assert written(session) == [
        {"op": "pong", "server_time": 7},
        {"op": "reply", "ref": "r", "result": {"a": 1}},
        {"op": "error", "code": "not_found", "message": "no such thing", "ref": "r2"},
    ]


def test_acks_lower_are_ignored_and_higher_are_invalid() -> None:
    session = opened()
    session.push(chunk("a", "b"), 0, T0)
    session.take()
    for received in (2, 2, 1, 0):
        session.receive(frames.Ack(received), T0)
    assert not session.pending
    session.receive(frames.Ack(3), T0)
    (error,) = written(session)
    assert (error["code"], error["field"], error["limit"]) == ("invalid", "received", 2)


def test_hundred_invalid_in_a_row_end_the_connection() -> None:
    session = opened()
    bad = frames.BadFrame(Invalid("no"))
    for _ in range(99):
        session.receive(bad, T0)
    session.receive(frames.Ping(), T0)
    for _ in range(99):
        session.receive(bad, T0)
    assert state(session) is State.OPEN
    session.take()
    session.receive(bad, T0)
    assert [frame.get("code") for frame in written(session)] == ["invalid", 4400]
    assert session.ending is not None
    assert (session.ending.code, session.state) == (4400, State.CLOSED)


def test_no_hello_in_time() -> None:
    session = ServerSession(settings(), T0)
    assert session.tick(T0 + 9.9) == T0 + 10
    assert session.tick(T0 + 10) is None
    assert written(session) == [{"op": "bye", "code": 4008, "reason": "no welcome within 10 s", "reconnect": "resume"}]
    assert session.ending is not None
    assert session.ending.code == 4008


def test_it_beats_in_rhythm_and_ends_the_silent() -> None:
    session = opened()
    session.versions.synced(9)
    now = T0
    for _ in range(3):
        now += 30
        session.tick(now)
        assert written(session) == [{"op": "beat", "version": 9, "server_time": 7}]
        session.heard(now)
    session.tick(now + 30)
    assert ops(session) == ["beat"]
    session.tick(now + 44.9)
    assert state(session) is State.OPEN
    session.tick(now + 45)
    assert [(frame["op"], frame["code"]) for frame in written(session)] == [("bye", 4001)]
    assert state(session) is State.DETACHED


def test_pushes_not_acknowledged_are_asked_for_once_and_then_the_connection_ends() -> None:
    session = opened()
    session.push(chunk("a", "b"), 0, T0 + 5)
    session.take()
    session.tick(T0 + 24.9)
    assert not session.pending
    session.tick(T0 + 25)
    assert ops(session) == ["beat"]
    session.heard(T0 + 26)
    session.tick(T0 + 30)
    assert ops(session) == ["beat"], "the regular one"
    session.tick(T0 + 44)
    assert state(session) is State.OPEN
    session.heard(T0 + 44)
    session.tick(T0 + 45)
    assert ops(session) == ["bye"]
    assert state(session) is State.DETACHED


def test_progress_restarts_the_ack_timeout() -> None:
    session = opened()
    session.push(chunk("a", "b"), 0, T0)
    session.take()
    session.tick(T0 + 20)
    assert ops(session) == ["beat"]
    session.receive(frames.Ack(1), T0 + 21)
    session.heard(T0 + 40)
    session.tick(T0 + 40.9)
    assert ops(session) == ["beat"], "the regular one"
    session.tick(T0 + 41)
    assert ops(session) == ["beat"], "asked for again"
    session.receive(frames.Ack(2), T0 + 42)
    session.tick(T0 + 69)
    assert state(session) is State.OPEN


def test_tick_never_asks_to_be_called_later_than_something_is_due() -> None:
    session = opened()
    at = session.tick(T0)
    assert at is not None
    assert at <= T0 + 20, "a push may follow at once and its ack be due in 20 s"


def test_resume_goes_on_after_what_the_client_has() -> None:
    session = opened()
    session.push(chunk("a", "b", "c"), 1, T0)
    session.take()
    session.receive(frames.Ack(1), T0)
    session.push(chunk("d"), 2, T0)  # Counted as sent, but never taken by the connection.
    session.detach(T0)
    session.push(chunk("e"), 3, T0)
    assert not session.pending
    assert session.version == 2, "what waits is not pushed yet"
    assert session.resume(welcome(resumed=True), 2, T0 + 1)
    assert data(session) == ["welcome", "c", "d", "e"]
    assert session.version == 3


@pytest.mark.parametrize("received", [0, 4, 2**53 - 1])
def test_an_impossible_resume_leaves_the_session_to_its_owner(received: int) -> None:
    session = opened()
    session.push(chunk("a", "b", "c"), 0, T0)
    session.receive(frames.Ack(1), T0)
    session.detach(T0)
    assert not session.can_resume(received)
    assert not session.resume(welcome(resumed=True), received, T0)
    assert state(session) is State.DETACHED
    assert session.resume(welcome(resumed=True), 1, T0)


def test_a_detached_session_expires() -> None:
    session = opened()
    session.detach(T0 + 3)
    assert session.tick(T0 + 100) == T0 + 123
    assert session.tick(T0 + 123) is None
    assert state(session) is State.CLOSED
    assert not session.can_resume(0)


def test_a_slow_client_is_told_that_it_lagged() -> None:
    session = opened(limits=WindowLimits(frames=2, backlog_frames=2))
    for version, name in enumerate("abcdefg", 1):
        session.push(chunk(name), version, T0)
    assert data(session) == ["a", "b"]
    session.receive(frames.Ack(1), T0)
    assert data(session) == ["lagged"]
    session.receive(frames.Ack(3), T0)
    session.push(chunk("h"), 8, T0)
    assert data(session) == ["h"]
    assert session.version == 2, "what was dropped leaves a hole"
    session.versions.synced(7)
    assert session.version == 8


@pytest.mark.parametrize(
    ("code", "state", "reconnect"),
    [
        (4001, State.DETACHED, "resume"),
        (4002, State.DETACHED, "resume"),
        (4100, State.CLOSED, "sync"),
        (4401, State.CLOSED, "never"),
        (4409, State.CLOSED, "never"),
    ],
)
def test_bye_says_whether_to_come_back(code: int, state: State, reconnect: str) -> None:
    session = opened()
    session.close(code, "why", now=T0)
    assert written(session) == [{"op": "bye", "code": code, "reason": "why", "reconnect": reconnect}]
    assert session.state is state
    session.close(code, "again", now=T0)
    assert not session.pending


def test_a_closed_session_takes_and_says_nothing() -> None:
    session = opened()
    session.close(4409, "kicked")
    session.take()
    session.push(chunk("a"), 1, T0)
    session.note(b"n")
    session.beat()
    session.reply("r", {})
    session.refuse(Invalid("no"))
    for frame in (frames.Ping(), frames.Ack(0), HELLO, frames.Call("r", "c"), frames.BadFrame(Invalid("no"))):
        assert session.receive(frame, T0) is None
    assert not session.pending
    assert session.tick(T0) is None


def test_what_the_state_does_not_allow_raises() -> None:
    session = ServerSession(settings(), T0)
    with pytest.raises(RuntimeError, match="new cannot welcome"):
        session.welcome(welcome(), T0)
    assert {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(State)


def test_what_may_be_written_at_once_is_counted_and_not_kept_to_be_taken() -> None:
    session = opened(limits=WindowLimits(frames=2))
    assert session.push_through(chunk("a"), T0)
    assert not session.pending
    assert session.window.sent == 1
    assert session.tick(T0 + 20) is not None
    assert ops(session) == ["beat"]  # nothing was acknowledged
    session.push(chunk("b"), 0, T0)
    assert not session.push_through(chunk("c"), T0)  # "b" comes first
    assert data(session) == ["b"]
    assert not session.push_through(chunk("c"), T0)  # the window is full
    assert session.window.sent == 2
    session.detach(T0)
    assert not session.push_through(chunk("c"), T0)
    session.push(chunk("c"), 0, T0)
    assert session.resume(welcome(resumed=True), 1, T0)
    assert data(session) == ["welcome", "b", "c"]
