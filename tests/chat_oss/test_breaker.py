from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from attrs import define, field
from chat_common.clock import ManualClock
from chat_common.errors import NotFound, Unavailable
from chat_oss.breaker import Breaker, BreakerSettings
from chat_oss.guard import GuardedStore, GuardSettings
from chat_oss.telemetry import Silent


def breaker() -> tuple[Breaker, ManualClock]:
    clock = ManualClock()
    return Breaker(BreakerSettings(failures=3, pause=5.0), clock), clock


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.failed(breaker.enter())


def test_it_opens_after_failures_in_a_row_only() -> None:
    one, _ = breaker()
    fail(one, 2)
    one.succeeded(one.enter())
    fail(one, 2)
    assert one.state == "closed"
    fail(one, 1)
    with pytest.raises(Unavailable) as caught:
        one.enter()
    assert caught.value.retry_after == 5.0


def test_after_the_pause_one_tries_and_the_others_wait() -> None:
    one, clock = breaker()
    fail(one, 3)
    clock.advance(4.9)
    with pytest.raises(Unavailable):
        one.enter()
    clock.advance(0.1)
    trial = one.enter()
    assert trial
    with pytest.raises(Unavailable):
        one.enter()
    one.failed(trial)
    with pytest.raises(Unavailable) as caught:
        one.enter()
    assert caught.value.retry_after == 5.0
    clock.advance(5)
    one.succeeded(one.enter())
    assert (one.enter(), one.state) == (False, "closed")


def test_what_began_before_it_opened_says_nothing_of_the_store_now() -> None:
    one, _ = breaker()
    late = one.enter()
    fail(one, 3)
    one.succeeded(late)
    assert one.state == "open"


def test_a_cancelled_trial_lets_the_next_one_try() -> None:
    one, clock = breaker()
    fail(one, 3)
    clock.advance(5)
    one.gave_up(one.enter())
    assert one.enter()


@define
class _Told(Silent):
    operations: list[tuple[str, str]] = field(factory=list)
    moves: list[tuple[str, int]] = field(factory=list)

    def operation(self, name: str, outcome: str, seconds: float) -> None:
        self.operations.append((name, outcome))

    def moved(self, direction: Literal["in", "out"], size: int) -> None:
        self.moves.append((direction, size))


class _Store:
    """Answers as it is told to."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.hangs = False

    async def stat(self, key: str) -> str:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return key

    @contextlib.asynccontextmanager
    async def get(self, key: str, **_: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"abc"
            if self.hangs:
                await asyncio.Event().wait()
            yield b"de"

        yield chunks()


def guarded(deadline: float = 60.0) -> tuple[GuardedStore, _Store, _Told]:
    store, told = _Store(), _Told()
    settings = GuardSettings(failures=2, pause=5.0, deadline=deadline)
    return GuardedStore(store, ManualClock(), settings, told), store, told  # type: ignore[arg-type]


async def test_only_a_store_that_does_not_answer_counts_as_failing() -> None:
    guard, store, told = guarded()
    store.error = NotFound("no")
    for _ in range(5):
        with pytest.raises(NotFound):
            await guard.stat("a")
    assert guard.breaker.failures == 0
    store.error = Unavailable("dead")
    for _ in range(2):
        with pytest.raises(Unavailable):
            await guard.stat("a")
    store.error = None
    with pytest.raises(Unavailable):
        await guard.stat("a")
    assert told.operations == [("stat", "refused")] * 5 + [("stat", "unavailable")] * 2


async def test_an_operation_that_hangs_ends_at_the_deadline() -> None:
    guard, store, told = guarded(deadline=0.01)
    store.hangs = True
    with pytest.raises(Unavailable):
        await guard.stat("a")
    async with guard.get("a") as chunks:
        assert await anext(chunks) == b"abc"
        with pytest.raises(Unavailable):
            await anext(chunks)
    assert guard.breaker.failures == 1  # in a row: opening the stream had worked
    assert told.moves == [("out", 3)]
    assert told.operations == [("stat", "unavailable"), ("get", "ok"), ("read", "ok"), ("read", "unavailable")]


async def test_a_cancelled_caller_is_no_failure_of_the_store() -> None:
    guard, store, told = guarded()
    store.hangs = True
    for _ in range(3):
        task = asyncio.create_task(guard.stat("a"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert guard.breaker.state == "closed"
    assert told.operations == [("stat", "cancelled")] * 3
