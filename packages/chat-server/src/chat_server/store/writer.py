"""The writer: group commit without a timer.

It takes all that waits and runs it as one transaction in one thread hop; what came meanwhile is the next batch. A bad
item never sinks its neighbours: each part runs under a savepoint, a failing set-based part is halved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import structlog
from attrs import define, field, frozen
from chat_common.errors import ChatError, Unavailable
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

T = TypeVar("T")
Apply = Callable[[Any, Sequence[Any]], Sequence[Any]]
log = structlog.get_logger("chat.store")

AGAIN = 1.0
"""Seconds after which a client that was refused because the database is away may ask again."""

BATCH = 500
"""Most jobs of one transaction: bounds its time, and the variables of its longest statement."""
SHARE = 64
"""Most of them of one user: what a flood may cost somebody else's next call."""
_LOCK_WAIT_MS = 50
"""How long shared work waits for a lock: well below the second after which PostgreSQL looks for deadlocks."""
_AFTER = "chat_after_commit"


def after_commit(connection: Connection, call: Callable[[], None]) -> None:
    """Run ``call`` on the event loop when the transaction that runs now is committed, before its callers go on.

    Dropped with the savepoint of the work that asked for it. Only inside `SqlDatabase.change` and `change_many`.
    """
    connection.info.setdefault(_AFTER, []).append(call)


@define
class Job:
    apply: Apply | None
    item: Any
    future: asyncio.Future[Any]
    by: str = ""


@define
class BatchOutcome:
    """What a batch came to: results in job order, and what is to be called after the commit."""

    results: list[Any] = field(factory=list)
    calls: list[Callable[[], None]] = field(factory=list)


@frozen
class Failure:
    error: BaseException


_LATER: Any = object()
"""Stands for the result of a job that was not run."""


def _guarded(connection: Connection, work: Callable[[], T]) -> T | Failure:
    calls = connection.info.setdefault(_AFTER, [])
    mark = len(calls)
    connection.exec_driver_sql("SAVEPOINT chat_part")
    try:
        result = work()
    except Exception as error:
        if is_passing(error):
            raise
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT chat_part")
        connection.exec_driver_sql("RELEASE SAVEPOINT chat_part")
        del calls[mark:]
        return Failure(error)
    connection.exec_driver_sql("RELEASE SAVEPOINT chat_part")
    return result


def _apply_halving(connection: Connection, apply: Apply, items: Sequence[Any]) -> list[Any]:
    """One set-based call; if it raises, its two halves by themselves, down to the one bad item."""
    outcome = _guarded(connection, lambda: apply(connection, items))
    if not isinstance(outcome, Failure):
        return list(outcome)
    if len(items) == 1:
        if isinstance(outcome.error, IntegrityError):
            # Another writer was first, and is committed now: seen by a second look, which answers what is so.
            again = _guarded(connection, lambda: apply(connection, items))
            return [again] if isinstance(again, Failure) else list(again)
        return [outcome]
    middle = len(items) // 2
    return [
        *_apply_halving(connection, apply, items[:middle]),
        *_apply_halving(connection, apply, items[middle:]),
    ]


def run_batch(connection: Connection, jobs: Sequence[Job]) -> BatchOutcome:
    connection.info[_AFTER] = []
    results: dict[int, Any] = {}
    groups: dict[Apply, list[int]] = {}
    shares = len(jobs) > 1 and connection.dialect.name == "postgresql"
    if shares and any(job.apply is None for job in jobs):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_LOCK_WAIT_MS}")
    for number, job in enumerate(jobs):
        if job.apply is None:
            result = _guarded(connection, lambda work=job.item: work(connection))  # type: ignore[misc]
            if shares and isinstance(result, Failure) and _state(result.error) == _LOCK_TIMEOUT:
                # Commit what is done, so that nobody waits for it.
                return BatchOutcome([results.get(each, _LATER) for each in range(len(jobs))], _called(connection))
            results[number] = result
        else:
            groups.setdefault(job.apply, []).append(number)
    for apply, numbers in groups.items():
        outcomes = _apply_halving(connection, apply, [jobs[number].item for number in numbers])
        results.update(zip(numbers, outcomes, strict=True))
    return BatchOutcome([results[number] for number in range(len(jobs))], _called(connection))


def _called(connection: Connection) -> list[Callable[[], None]]:
    """What is to be called after the commit."""
    found: list[Callable[[], None]] = connection.info.pop(_AFTER)
    return found


_LOCK_TIMEOUT = "55P03"


def _state(error: BaseException) -> str | None:
    return getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None


def is_passing(error: BaseException) -> bool:
    """A deadlock or a conflict that the database ended at our cost: the same transaction will pass."""
    return _state(error) in ("40001", "40P01")


def detail_of(error: SQLAlchemyError) -> str:
    """What a database says of an error, for the log: its first line, since others name values, which people wrote."""
    return str(getattr(error, "orig", error)).partition("\n")[0][:300]


def translated(error: BaseException) -> BaseException:
    """A vendor's exception never crosses the port."""
    if isinstance(error, SQLAlchemyError):
        log.error("database_failed", error=type(error).__name__, detail=detail_of(error))
        failure = Unavailable("The database failed. Try again.", retry_after=AGAIN)
        failure.__cause__ = error
        return failure
    return error


def next_batch(waiting: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """(the jobs of the next transaction, those that wait on): round after round one job of each user, at most `SHARE`
    of one, so that a flood of one user waits behind itself. Each user's jobs stay in order; so does everything when
    nobody asks for more than a share. Work of no user, the server's own, is not held back.
    """
    if len(waiting) <= SHARE:
        return list(waiting), []
    taken: dict[str, int] = {}
    places: list[tuple[int, int]] = []  # (round, place)
    for place, job in enumerate(waiting):
        turn = taken.get(job.by, 0) if job.by else 0
        if turn < SHARE:
            places.append((turn, place))
            taken[job.by] = turn + 1
    places.sort()
    chosen = {place for _, place in places[:BATCH]}
    return (
        [job for place, job in enumerate(waiting) if place in chosen],
        [job for place, job in enumerate(waiting) if place not in chosen],
    )


class Writer:
    """Collects jobs on the loop; one batch runs at a time."""

    def __init__(self, run: Callable[[Sequence[Job]], Any], apart: Callable[[Sequence[Job]], list[list[Job]]]) -> None:
        self._run = run
        self._apart = apart
        self._waiting: list[Job] = []
        self._busy: asyncio.Task[None] | None = None
        self._closed = False

    def put(self, apply: Apply | None, item: Any, by: str) -> asyncio.Future[Any]:
        """The job's result. Who cancels it, or is cancelled while awaiting it, hears no more of the job, which is done
        all the same: a shield would cost each message a second future."""
        if self._closed:
            raise Unavailable("The database is closed.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(Job(apply, item, future, by))
        if self._busy is None:
            self._busy = loop.create_task(self._drain(), name="chat-writer")
        return future

    async def _drain(self) -> None:
        try:
            while self._waiting:
                jobs, self._waiting = next_batch(self._waiting)
                for part in self._apart(jobs):
                    later = await self._one(part)
                    while later:
                        # The first of them by itself, where it may wait as long as it must.
                        await self._one(later[:1])
                        later = await self._one(later[1:])
        finally:
            self._busy = None

    async def _one(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Run them in a transaction; returns those that are still to be run."""
        if not jobs:
            return ()
        try:
            outcome: BatchOutcome = await self._run(jobs)
        except Exception as error:
            # The commit itself failed, or a statement outside every savepoint: nothing of it is stored.
            if len(jobs) > 1 and isinstance(error, DBAPIError):
                for job in jobs:
                    await self._one([job])
                return ()
            for job in jobs:
                if not job.future.done():
                    job.future.set_exception(translated(error))
            return ()
        for call in outcome.calls:
            try:
                call()
            except Exception:
                log.exception("after_commit_failed")
        later = []
        for job, result in zip(jobs, outcome.results, strict=True):
            if result is _LATER:
                later.append(job)
            elif job.future.done():
                continue
            elif isinstance(result, Failure):
                job.future.set_exception(translated(result.error))
            elif isinstance(result, ChatError):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)
        return later

    async def close(self) -> None:
        self._closed = True
        while self._busy is not None:
            await asyncio.wait([self._busy])
