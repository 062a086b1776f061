"""The transaction runner: group commit without a timer.

The writer takes all that waits and runs it as one transaction in one thread hop; what came meanwhile is the next
batch. On SQLite that is a synchronous engine in its own thread, on PostgreSQL the same functions under
`AsyncConnection.run_sync`. A bad item never sinks its neighbours: each part runs under a savepoint, a failing
set-based part is halved.

On PostgreSQL other servers write as well, and two transactions must not wait for each other in a circle. So each
set-based function has a transaction of its own, in which it takes its locks in order. All other work shares one; who
would wait there longer than a moment, while it holds what its neighbours have locked, is run alone after it. What the
database gives up all the same, in favour of another transaction, is repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import structlog
from attrs import define, field, frozen
from chat_common.errors import ChatError, Unavailable
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

T = TypeVar("T")
Apply = Callable[[Any, Sequence[Any]], Sequence[Any]]
log = structlog.get_logger("chat.store")

BATCH = 500
"""Most jobs of one transaction: bounds its time, and the variables of its longest statement."""
_TRIES = 6
"""How often a transaction is run that the database gives up in favour of another one."""
_LOCK_WAIT_MS = 50
"""How long shared work waits for a lock: well below the second after which PostgreSQL looks for deadlocks."""
_AFTER = "chat_after_commit"


def after_commit(connection: Connection, call: Callable[[], None]) -> None:
    """Run ``call`` on the event loop when the transaction that runs now is committed, before its callers go on.

    Dropped with the savepoint of the work that asked for it. Only inside `SqlDatabase.change` and `change_many`.
    """
    connection.info.setdefault(_AFTER, []).append(call)


@define
class _Job:
    apply: Apply | None
    item: Any
    future: asyncio.Future[Any]


@define
class _Outcome:
    """What a batch came to: results in job order, and what is to be called after the commit."""

    results: list[Any] = field(factory=list)
    calls: list[Callable[[], None]] = field(factory=list)


@frozen
class _Failure:
    error: BaseException


_LATER: Any = object()
"""Stands for the result of a job that was not run."""


def _guarded(connection: Connection, work: Callable[[], T]) -> T | _Failure:
    calls = connection.info.setdefault(_AFTER, [])
    mark = len(calls)
    connection.exec_driver_sql("SAVEPOINT chat_part")
    try:
        result = work()
    except Exception as error:
        if _is_passing(error):
            raise
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT chat_part")
        connection.exec_driver_sql("RELEASE SAVEPOINT chat_part")
        del calls[mark:]
        return _Failure(error)
    connection.exec_driver_sql("RELEASE SAVEPOINT chat_part")
    return result


def _apply_halving(connection: Connection, apply: Apply, items: Sequence[Any]) -> list[Any]:
    """One set-based call; if it raises, its two halves by themselves, down to the one bad item."""
    outcome = _guarded(connection, lambda: apply(connection, items))
    if not isinstance(outcome, _Failure):
        return list(outcome)
    if len(items) == 1:
        if isinstance(outcome.error, IntegrityError):
            # Another writer was first, and is committed now: seen by a second look, which answers what is so.
            again = _guarded(connection, lambda: apply(connection, items))
            return [again] if isinstance(again, _Failure) else list(again)
        return [outcome]
    middle = len(items) // 2
    return [
        *_apply_halving(connection, apply, items[:middle]),
        *_apply_halving(connection, apply, items[middle:]),
    ]


def _run_batch(connection: Connection, jobs: Sequence[_Job]) -> _Outcome:
    connection.info[_AFTER] = []
    results: dict[int, Any] = {}
    groups: dict[Apply, list[int]] = {}
    shares = len(jobs) > 1 and connection.dialect.name == "postgresql"
    if shares and any(job.apply is None for job in jobs):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_LOCK_WAIT_MS}")
    for number, job in enumerate(jobs):
        if job.apply is None:
            result = _guarded(connection, lambda work=job.item: work(connection))  # type: ignore[misc]
            if shares and isinstance(result, _Failure) and _state(result.error) == _LOCK_TIMEOUT:
                # Commit what is done, so that nobody waits for it.
                return _Outcome([results.get(each, _LATER) for each in range(len(jobs))], _called(connection))
            results[number] = result
        else:
            groups.setdefault(job.apply, []).append(number)
    for apply, numbers in groups.items():
        outcomes = _apply_halving(connection, apply, [jobs[number].item for number in numbers])
        results.update(zip(numbers, outcomes, strict=True))
    return _Outcome([results[number] for number in range(len(jobs))], _called(connection))


def _called(connection: Connection) -> list[Callable[[], None]]:
    """What is to be called after the commit."""
    found: list[Callable[[], None]] = connection.info.pop(_AFTER)
    return found


def _apart(jobs: Sequence[_Job]) -> list[list[_Job]]:
    """The jobs by what may share a transaction where others write too."""
    parts: dict[Apply | None, list[_Job]] = {}
    for job in jobs:
        parts.setdefault(job.apply, []).append(job)
    return list(parts.values())


_LOCK_TIMEOUT = "55P03"


def _state(error: BaseException) -> str | None:
    return getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None


def _is_passing(error: BaseException) -> bool:
    """A deadlock or a conflict that the database ended at our cost: the same transaction will pass."""
    return _state(error) in ("40001", "40P01")


def _translated(error: BaseException) -> BaseException:
    """A vendor's exception never crosses the port."""
    if isinstance(error, SQLAlchemyError):
        log.error("database_failed", error=type(error).__name__, detail=str(getattr(error, "orig", error))[:300])
        failure = Unavailable("the database does not answer as it should; try again")
        failure.__cause__ = error
        return failure
    return error


class _Writer:
    """Collects jobs on the loop; one batch runs at a time."""

    def __init__(
        self, run: Callable[[Sequence[_Job]], Any], apart: Callable[[Sequence[_Job]], list[list[_Job]]]
    ) -> None:
        self._run = run
        self._apart = apart
        self._waiting: list[_Job] = []
        self._busy: asyncio.Task[None] | None = None
        self._closed = False

    def put(self, apply: Apply | None, item: Any) -> asyncio.Future[Any]:
        if self._closed:
            raise Unavailable("the database is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(_Job(apply, item, future))
        if self._busy is None:
            self._busy = loop.create_task(self._drain(), name="chat-writer")
        return future

    async def _drain(self) -> None:
        try:
            while self._waiting:
                jobs, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                for part in self._apart(jobs):
                    later = await self._one(part)
                    while later:
                        # The first of them by itself, where it may wait as long as it must.
                        await self._one(later[:1])
                        later = await self._one(later[1:])
        finally:
            self._busy = None

    async def _one(self, jobs: Sequence[_Job]) -> Sequence[_Job]:
        """Run them in a transaction; returns those that are still to be run."""
        if not jobs:
            return ()
        try:
            outcome: _Outcome = await self._run(jobs)
        except Exception as error:
            # The commit itself failed, or a statement outside every savepoint: nothing of it is stored.
            if len(jobs) > 1 and isinstance(error, DBAPIError):
                for job in jobs:
                    await self._one([job])
                return ()
            for job in jobs:
                if not job.future.done():
                    job.future.set_exception(_translated(error))
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
            elif isinstance(result, _Failure):
                job.future.set_exception(_translated(result.error))
            elif isinstance(result, ChatError):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)
        return later

    async def close(self) -> None:
        self._closed = True
        while self._busy is not None:
            await asyncio.wait([self._busy])


class SqlDatabase:
    """The `Database` port; `SqliteDatabase` and `PostgresDatabase` say how a batch and a read are run."""

    dialect: str

    def __init__(self) -> None:
        self._writer = _Writer(self._run_jobs, self._apart)

    def _apart(self, jobs: Sequence[_Job]) -> list[list[_Job]]:
        """The transactions of a batch, one after the other."""
        return [list(jobs)]

    async def _run_jobs(self, jobs: Sequence[_Job]) -> _Outcome:
        raise NotImplementedError

    async def change(self, work: Callable[[Any], T]) -> T:
        return await asyncio.shield(self._writer.put(None, work))

    async def change_many(self, apply: Apply, item: Any) -> Any:
        return await asyncio.shield(self._writer.put(apply, item))

    async def read(self, work: Callable[[Any], T]) -> T:
        raise NotImplementedError


def _prepare_sqlite(engine: Engine, *, writable: bool) -> None:
    @event.listens_for(engine, "connect")
    def connect(raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # we say BEGIN ourselves: the driver must not
        cursor = raw.cursor()
        cursor.execute("PRAGMA busy_timeout = 10000")
        if writable:
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA cache_size = -32000" if writable else "PRAGMA cache_size = -8000")
        cursor.execute("PRAGMA temp_store = MEMORY")
        if not writable:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writable else "BEGIN")


class SqliteDatabase(SqlDatabase):
    """A file in WAL mode, ``synchronous=FULL``: a commit is on disk when it returns."""

    dialect = "sqlite"

    def __init__(self, path: Path, *, readers: int = 3) -> None:
        super().__init__()
        url = f"sqlite:///{path}"
        self.writer_engine = create_engine(url, connect_args={"check_same_thread": False}, query_cache_size=2000)
        _prepare_sqlite(self.writer_engine, writable=True)
        self.reader_engine = create_engine(
            url, connect_args={"check_same_thread": False}, pool_size=readers, max_overflow=0, query_cache_size=2000
        )
        _prepare_sqlite(self.reader_engine, writable=False)
        self._write_thread = ThreadPoolExecutor(1, "chat-writer")
        self._read_threads = ThreadPoolExecutor(readers, "chat-reader")
        self._connection: Connection | None = None

    def _write(self, jobs: Sequence[_Job]) -> _Outcome:
        if self._connection is None:
            self._connection = self.writer_engine.connect()
        with self._connection.begin():
            return _run_batch(self._connection, jobs)

    async def _run_jobs(self, jobs: Sequence[_Job]) -> _Outcome:
        return await asyncio.get_running_loop().run_in_executor(self._write_thread, self._write, jobs)

    def _read(self, work: Callable[[Any], T]) -> T:
        with self.reader_engine.connect() as connection, connection.begin():
            return work(connection)

    async def read(self, work: Callable[[Any], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._read_threads, self._read, work)
        except SQLAlchemyError as error:
            raise _translated(error) from error

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def aclose(self) -> None:
        await self._writer.close()
        await asyncio.get_running_loop().run_in_executor(self._write_thread, self._close)
        self._write_thread.shutdown()
        self._read_threads.shutdown()
        self.reader_engine.dispose()
        self.writer_engine.dispose()


class PostgresDatabase(SqlDatabase):
    """PostgreSQL through asyncpg; ``url`` as SQLAlchemy writes it (``postgresql+asyncpg://…``)."""

    dialect = "postgresql"

    def __init__(self, url: str, *, readers: int = 8) -> None:
        # The asyncio façade imports the whole ORM: only who needs it pays for it at start.
        from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

        super().__init__()
        self.engine: AsyncEngine = create_async_engine(url, pool_size=readers + 1, max_overflow=0, pool_pre_ping=True)

    def _apart(self, jobs: Sequence[_Job]) -> list[list[_Job]]:
        return _apart(jobs)

    async def _run_jobs(self, jobs: Sequence[_Job]) -> _Outcome:
        for attempt in range(1, _TRIES):
            try:
                return await self._run_once(jobs)
            except DBAPIError as error:
                if not _is_passing(error):
                    raise
                log.warning("transaction_repeated", attempt=attempt, detail=str(error.orig)[:300])
                await asyncio.sleep(random.uniform(0.5, 1.0) * 0.02 * 2**attempt)
        return await self._run_once(jobs)

    async def _run_once(self, jobs: Sequence[_Job]) -> _Outcome:
        async with self.engine.begin() as connection:
            return await connection.run_sync(_run_batch, jobs)

    async def read(self, work: Callable[[Any], T]) -> T:
        try:
            async with self.engine.connect() as connection:
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                async with connection.begin():
                    return await connection.run_sync(work)
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable("the database does not answer; try again") from error

    async def aclose(self) -> None:
        await self._writer.close()
        await self.engine.dispose()


@contextlib.asynccontextmanager
async def open_sqlite(path: Path, *, readers: int = 3) -> AsyncIterator[SqliteDatabase]:
    """The database of a data folder, made if it is not there; tables are the migrations' business."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = SqliteDatabase(path, readers=readers)
    try:
        yield database
    finally:
        await database.aclose()


@contextlib.asynccontextmanager
async def open_postgres(url: str, *, readers: int = 8) -> AsyncIterator[PostgresDatabase]:
    """A PostgreSQL database by its SQLAlchemy URL."""
    database = PostgresDatabase(url, readers=readers)
    try:
        yield database
    finally:
        await database.aclose()
