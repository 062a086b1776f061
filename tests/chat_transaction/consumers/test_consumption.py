"""One consumer at work: whatever its handler does is an attempt, and no more than that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from attrs import define, field, frozen
from chat_common.ports.broker import BrokerRecord, NotHandled
from chat_common.records import Consumer, Ensured
from chat_transaction.brokers.delivery import persistently
from chat_transaction.consumers.consumption import Accepted, Consumption
from chat_transaction.consumers.ensured import EnsuredCalls, ensured


@define
class Notes:
    """The ledger."""

    done: list[str] = field(factory=list)
    reasons: dict[str, str] = field(factory=dict)
    buried: dict[str, str] = field(factory=dict)

    async def accept(self, consumer: Consumer, records: Sequence[BrokerRecord]) -> Accepted:
        return Accepted(records)

    def handled(self, consumer: Consumer, records: Sequence[BrokerRecord]) -> None:
        self.done += [record.id for record in records]

    async def failed(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        self.reasons[record.id] = reason

    async def bury(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        self.buried[record.id] = reason

    async def park(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None:
        raise AssertionError("nothing is parked here")


def record(id: str, attempt: int = 1) -> BrokerRecord:
    return BrokerRecord("orders", id[0], b"", id, attempt)


class Strange(BaseException):
    pass


@pytest.mark.parametrize("error", [asyncio.CancelledError(), Strange()])
async def test_what_is_no_exception_is_a_failed_attempt_too(error: BaseException) -> None:
    async def handle(records: Sequence[BrokerRecord]) -> None:
        if any(each.id == "b1" for each in records):
            raise error

    notes = Notes()
    consumption = Consumption(Consumer("orders", "mail", handle, attempts=2), notes, retry_first=1, retry_cap=1)
    with pytest.raises(NotHandled) as caught:
        await consumption([record(each) for each in ("a1", "b1", "b2", "c1")])
    assert [each.id for each in caught.value.failed] == ["b1"]
    assert [each.id for each in caught.value.later] == ["b2"]
    assert sorted(notes.done) == ["a1", "c1"]
    assert type(error).__name__ in notes.reasons["b1"]
    await consumption([record("b1", 2), record("b2")])
    assert type(error).__name__ in notes.buried["b1"]
    assert sorted(notes.done) == ["a1", "b2", "c1"]


async def test_who_cancels_the_worker_is_obeyed() -> None:
    entered = asyncio.Event()

    async def handle(records: Sequence[BrokerRecord]) -> None:
        entered.set()
        await asyncio.Event().wait()

    notes = Notes()
    consumption = Consumption(Consumer("orders", "mail", handle), notes, retry_first=1, retry_cap=1)
    task = asyncio.create_task(consumption([record("a1")]))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not notes.reasons
    assert not notes.done


async def test_a_call_beyond_its_time_limit_has_failed() -> None:
    cancelled: list[str] = []

    async def handle(records: Sequence[BrokerRecord]) -> None:
        if any(each.id == "b1" for each in records):
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append("b1")

    notes = Notes()
    consumer = Consumer("orders", "mail", handle, attempts=2, timeout=0.05)
    consumption = Consumption(consumer, notes, retry_first=1, retry_cap=1)
    with pytest.raises(NotHandled) as caught:
        await consumption([record("a1"), record("b1")])
    assert [each.id for each in caught.value.failed] == ["b1"]
    assert notes.done == ["a1"]
    assert "The handler did not end within 0.05 s" in notes.reasons["b1"]
    await consumption([record("b1", 2)])
    assert "The handler did not end within 0.05 s" in notes.buried["b1"]
    assert len(cancelled) == 3


async def test_a_timeout_of_the_handlers_own_keeps_its_words() -> None:
    async def handle(records: Sequence[BrokerRecord]) -> None:
        raise TimeoutError("the printer did not answer")

    notes = Notes()
    consumption = Consumption(Consumer("orders", "mail", handle, timeout=60), notes, retry_first=1, retry_cap=1)
    with pytest.raises(NotHandled):
        await consumption([record("a1")])
    assert "the printer did not answer" in notes.reasons["a1"]


@frozen
class Job:
    name: str


def jobs(*names: str) -> list[BrokerRecord]:
    """A call each: ``key-name``."""
    payload = '{{"name": "job", "version": 1, "arguments": {{"name": "{}"}}}}'.format
    pairs = [each.split("-") for each in names]
    return [BrokerRecord("ensured", key, payload(name).encode(), f"{key}-{name}") for key, name in pairs]


async def test_an_ensured_function_that_is_cancelled_inside_fails_alone() -> None:
    ran: list[str] = []

    async def run(job: Job, key: str) -> None:
        if job.name == "bad":
            raise asyncio.CancelledError
        await asyncio.sleep(0)
        ran.append(job.name)

    calls = EnsuredCalls([Ensured("job", 1, Job, run)])
    with pytest.raises(NotHandled) as caught:
        await calls.handle(jobs("x-bad", "x-behind", "y-good", "z-fine"))
    assert [each.id for each in caught.value.failed] == ["x-bad"]
    assert [each.id for each in caught.value.later] == ["x-behind"]
    assert sorted(ran) == ["fine", "good"]


async def test_an_ensured_function_beyond_its_time_limit_fails_alone() -> None:
    async def run(job: Job, key: str) -> None:
        if job.name == "hangs":
            await asyncio.Event().wait()
        if job.name == "own":
            raise TimeoutError("the printer did not answer")

    @ensured("job", timeout=0.05)
    async def limited(job: Job, key: str) -> None:
        await run(job, key)

    calls = EnsuredCalls([limited.record])
    with pytest.raises(NotHandled) as caught:
        await calls.handle(jobs("x-hangs", "x-behind", "y-good", "z-own"))
    assert {each.id for each in caught.value.failed} == {"x-hangs", "z-own"}
    assert [each.id for each in caught.value.later] == ["x-behind"]
    assert "'job' did not end within 0.05 s" in str(caught.value.errors["x-hangs"])
    assert "the printer" in str(caught.value.errors["z-own"])


async def test_a_worker_that_falls_is_begun_again() -> None:
    errors: list[BaseException] = [ValueError("a bug"), asyncio.CancelledError(), OSError("gone")]

    async def work() -> None:
        if errors:
            raise errors.pop()

    await asyncio.wait_for(persistently(work, "the worker"), 20)
    assert not errors


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no user bob\0", "LookupError: no user bob\\0"),
        ("no user \udce9", "LookupError: no user \\udce9"),
        ("refused\n[parameters: ('a secret',)]", "LookupError: refused"),
        ("x" * 5000, "LookupError: " + "x" * 900),
    ],
)
async def test_a_reason_is_one_line_that_can_be_kept_and_no_body(text: str, reason: str) -> None:
    async def handle(records: Sequence[BrokerRecord]) -> None:
        raise LookupError(text)

    notes = Notes()
    with pytest.raises(NotHandled):
        await Consumption(Consumer("orders", "mail", handle), notes, retry_first=1, retry_cap=1)([record("a1")])
    found = notes.reasons["a1"]
    assert found.startswith(reason)
    assert "secret" not in found
    assert found.isprintable()
    assert len(found) <= 1000
    assert "(test_consumption.py:" in found
