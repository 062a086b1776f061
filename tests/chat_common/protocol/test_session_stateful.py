"""Any order of push, ack, tick, disconnect and resume delivers each item once, in order, or closes or lags explicitly.

The model is a plain list: what was said. The checker stands on the client's side of the wire and is itself tested:
every planted defect must be found.
"""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar

import msgspec
import pytest
from chat_common.codec.json import JsonCodec
from chat_common.protocol import frames
from chat_common.protocol.chunk import Chunk
from chat_common.protocol.session import ServerSession, SessionSettings, State
from chat_common.protocol.window import Window, WindowLimits
from chat_common.wire import Limits
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

codec = JsonCodec()
LIMITS = WindowLimits(frames=4, size=200, backlog_frames=6, backlog_size=400)
HELLO = frames.Hello(frames.Device("d", "test"))
LARGEST = 300


def welcome(*, resumed: bool) -> frames.Welcome:
    return frames.Welcome(
        session="s", resumed=resumed, device="d", epoch="e", version=0, heartbeat=30, resume_for=120, window=4,
        limits=Limits(), server_time=7, node="n",
    )  # fmt: skip


class SessionMachine(RuleBasedStateMachine):
    """A server session, a wire that may be cut, and a client that counts."""

    session_type: ClassVar[type[ServerSession]] = ServerSession

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.said = 0  # The model: items 1, 2, 3 … were said; item n came with version `versions[n]`.
        self.version = 0
        self.carried: dict[int, list[int]] = {}  # version → its items
        self.wire: deque[dict[str, Any]] = deque()
        self.received = 0
        self.last = 0  # The newest item that the client saw.
        self.owed = False  # It was told that something is missing, and may see a jump.
        self.seen: set[int] = set()
        self.synced = 0
        self.over = False
        self.session = self.session_type(SessionSettings(codec, lambda: 7, LIMITS), self.now)

    @initialize()
    def hello(self) -> None:
        self.session.receive(HELLO, self.now)
        self.session.welcome(welcome(resumed=False), self.now)

    # --- what happens ---

    @rule(sizes=st.lists(st.integers(1, 80), min_size=1, max_size=5), huge=st.sampled_from([0, 0, 0, 0, LARGEST]))
    def push(self, sizes: list[int], huge: int) -> None:
        self.version += 1
        encoded = []
        for size in sizes:
            self.said += 1
            self.carried.setdefault(self.version, []).append(self.said)
            encoded.append(codec.encode(frames.Push("message", [self.said, "x" * (huge or size)])))
        self.session.push(Chunk(encoded), self.version, self.now)

    @rule()
    def push_a_version_alone(self) -> None:
        self.version += 1
        self.carried[self.version] = []
        self.session.push(Chunk(()), self.version, self.now)

    @rule()
    def flush(self) -> None:
        for item in self.session.take():
            for frame in item.frames if isinstance(item, Chunk) else (item,):
                self.wire.append(msgspec.json.decode(frame))

    @rule(count=st.integers(1, 12))
    def arrive(self, count: int) -> None:
        self.flush()
        for _ in range(min(count, len(self.wire))):
            self.take_in(self.wire.popleft())

    @precondition(lambda self: not self.over and self.session.state is State.OPEN)
    @rule(back=st.integers(0, 3))
    def ack(self, back: int) -> None:
        self.session.receive(frames.Ack(max(self.received - back, 0)), self.now)

    @precondition(lambda self: self.session.state is State.OPEN)
    @rule(beyond=st.integers(1, 5))
    def ack_what_was_never_sent(self, beyond: int) -> None:
        before = self.session.window.acked
        self.session.receive(frames.Ack(self.session.window.sent + beyond), self.now)
        assert self.session.window.acked == before

    @rule(seconds=st.sampled_from([0.1, 5.0, 20.0, 30.0, 46.0, 121.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.session.tick(self.now)

    @rule()
    def cut(self) -> None:
        """The connection dies, with whatever is on its way, and with what was still to be written to it."""
        self.session.detach(self.now)
        self.session.take()
        self.wire.clear()

    @precondition(lambda self: self.session.state is State.DETACHED)
    @rule(wrong=st.sampled_from([0, 0, 0, -9, 9]))
    def resume(self, wrong: int) -> None:
        # The old connection is gone, with what was on its way and what was to be written to it.
        self.session.take()
        self.wire.clear()
        if wrong:
            claimed = max(self.received + wrong, 0)
            if not self.session.window.acked <= claimed <= self.session.window.sent:
                assert not self.session.resume(welcome(resumed=True), claimed, self.now)
                assert self.session.state is State.DETACHED
            return
        assert self.session.resume(welcome(resumed=True), self.received, self.now)

    @rule()
    def sync(self) -> None:
        """A sync that was answered with `more: false`."""
        if self.session.state is State.OPEN:
            self.synced = self.version
            self.session.versions.synced(self.version)

    # --- the checker ---

    def take_in(self, frame: dict[str, Any]) -> None:
        match frame["op"]:
            case "push":
                self.received += 1
                item = frame["data"][0]
                assert item > self.last, f"item {item} came again or out of order, after {self.last}"
                assert item == self.last + 1 or self.owed, f"item {self.last + 1} was left out without a word"
                self.last = item
                self.owed = False
                self.seen.add(item)
            case "lagged":
                self.received += 1
                self.owed = True
            case "beat":
                assert frame["version"] <= self.version
                for version in range(self.synced + 1, frame["version"] + 1):
                    missing = [item for item in self.carried[version] if item not in self.seen]
                    assert not missing, f"a beat says {frame['version']}, but {missing} never came"
            case "bye":
                self.over = True

    @invariant()
    def memory_is_bounded(self) -> None:
        window = self.session.window
        assert window.in_flight <= LIMITS.frames
        assert window.waiting <= LIMITS.backlog_frames
        assert window.held <= LIMITS.size + LIMITS.backlog_size + LARGEST + 100
        assert window.size == sum(map(len, _in_flight(window)))
        assert self.session.versions.waiting <= self.session.versions.limit

    def teardown(self) -> None:
        """Whatever was pushed arrives in the end, or its loss is told; unless the session is over."""
        if self.session.state is State.DETACHED:
            self.session.take()
            self.wire.clear()
            assert self.session.resume(welcome(resumed=True), self.received, self.now)
        for _ in range(40):
            if self.session.state is not State.OPEN:
                return
            self.arrive(1_000)
            self.session.receive(frames.Ack(self.received), self.now)
        assert self.last == self.said or self.owed, f"{self.said - self.last} items never came"
        self.session.beat()
        self.arrive(1_000)


def _in_flight(window: Window) -> list[bytes]:
    return [frame for chunk in window.flight for frame in chunk.frames][window._skip :]


def run(machine: type[SessionMachine], examples: int, *, derandomize: bool = False) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            derandomize=derandomize,
            database=None,
            phases=[Phase.generate] if derandomize else list(Phase),
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_each_item_comes_once_in_order_or_its_loss_is_told() -> None:
    run(SessionMachine, 2000)


# --- planted defects -----------------------------------------------------------------------------------------------


class WritesTwice(ServerSession):
    def push(self, chunk: Chunk, version: int, now: float) -> None:
        super().push(chunk, version, now)
        if self._out and self._out[-1] is chunk:
            self._out.append(chunk)


class Drops(ServerSession):
    def push(self, chunk: Chunk, version: int, now: float) -> None:
        if not chunk.count or version % 3:
            super().push(chunk, version, now)


class Swaps(ServerSession):
    def take(self) -> list[Chunk | bytes]:
        out = super().take()
        if len(out) > 2:
            out[-1], out[-2] = out[-2], out[-1]
        return out


class AcceptsAnyAck(ServerSession):
    def acknowledge(self, received: int, now: float, covered: list[Chunk] | None = None) -> bool:
        self.window.sent = max(self.window.sent, received)
        return super().acknowledge(received, now)


class ResumesOneTooEarly(ServerSession):
    def resume(self, welcome: frames.Welcome, received: int, now: float, *, beat_in: float | None = None) -> bool:
        before = self.window.acked
        done = super().resume(welcome, max(received - 1, before), now)
        return done


class ResumesOneTooLate(ServerSession):
    def resume(self, welcome: frames.Welcome, received: int, now: float, *, beat_in: float | None = None) -> bool:
        return super().resume(welcome, min(received + 1, self.window.sent), now)


class SaysNothingOfLag(ServerSession):
    def _release(self, now: float) -> None:
        self.window.lagging = False
        super()._release(now)


class SkipsHoles(ServerSession):
    def push(self, chunk: Chunk, version: int, now: float) -> None:
        super().push(chunk, version, now)
        self.versions.synced(version)


class ForgetsTheLimit(ServerSession):
    def push(self, chunk: Chunk, version: int, now: float) -> None:
        self.window._take(chunk)
        self._out.append(chunk)


class KeepsTheOldOutput(ServerSession):
    def resume(self, welcome: frames.Welcome, received: int, now: float, *, beat_in: float | None = None) -> bool:
        old = self._held
        done = super().resume(welcome, received, now)
        self._out.extend(old)
        return done

    def detach(self, now: float) -> None:
        self._held = list(self._out)
        super().detach(now)

    _held: list[Any] = []  # noqa: RUF012 - a mutant


MUTANTS = [
    WritesTwice, Drops, Swaps, AcceptsAnyAck, ResumesOneTooEarly, ResumesOneTooLate, SaysNothingOfLag, SkipsHoles,
    ForgetsTheLimit, KeepsTheOldOutput,
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_checker_finds_a_planted_defect(mutant: type[ServerSession]) -> None:
    planted = type("Planted", (SessionMachine,), {"session_type": mutant})
    with pytest.raises(AssertionError):
        run(planted, 400, derandomize=True)
