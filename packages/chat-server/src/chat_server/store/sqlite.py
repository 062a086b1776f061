"""SQLite: a synchronous engine, whose writer has a thread of its own; readers have theirs."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sqlite3 import Error as SQLiteError
from typing import Any, TypeVar

import structlog
from chat_common.settings import SetupError
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from chat_server.store import private
from chat_server.store.database import SqlDatabase
from chat_server.store.writer import BatchOutcome, Job, run_batch, translated

T = TypeVar("T")
log = structlog.get_logger("chat.store")

CHECKPOINT_EVERY = 60.0
"""Seconds after which the write-ahead log is emptied, so that nothing that was deleted stands in it for longer."""
_CHECKPOINT_WAIT_MS = 100
_BUSY_MS = 10_000
HEADER = b"SQLite format 3\0"
"""What every database file begins with."""


def _prepare_sqlite(engine: Engine, *, writable: bool) -> None:
    @event.listens_for(engine, "connect")
    def connect(raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # we say BEGIN ourselves: the driver must not
        cursor = raw.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        if writable:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA secure_delete = ON")  # a recalled text leaves no trace in the file
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
        self._log = path.with_name(f"{path.name}-wal")
        # A traceback in the log shows no message.
        common: dict[str, Any] = {
            "connect_args": {"check_same_thread": False},
            "query_cache_size": 2000,
            "hide_parameters": True,
        }
        self.writer_engine = create_engine(url, **common)
        _prepare_sqlite(self.writer_engine, writable=True)
        self.reader_engine = create_engine(url, pool_size=readers, max_overflow=0, **common)
        _prepare_sqlite(self.reader_engine, writable=False)
        self._write_thread = ThreadPoolExecutor(1, "chat-writer")
        self._read_threads = ThreadPoolExecutor(readers, "chat-reader")
        self._connection: Connection | None = None
        self._path = path
        self._watch: sqlite3.Connection | None = None

    def _write(self, jobs: Sequence[Job]) -> BatchOutcome:
        if self._connection is None:
            self._connection = self.writer_engine.connect()
        with self._connection.begin():
            return run_batch(self._connection, jobs)

    async def _run_jobs(self, jobs: Sequence[Job]) -> BatchOutcome:
        return await asyncio.get_running_loop().run_in_executor(self._write_thread, self._write, jobs)

    def commit_mark(self) -> int | None:
        """Some microseconds in the shared index of the write-ahead log, by a connection that never writes: SQLite
        counts all commits for it but its own."""
        try:
            if self._watch is None:
                self._watch = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=0)
            ((mark,),) = self._watch.execute("PRAGMA data_version").fetchall()  # all, so that it reads no longer
        except sqlite3.Error:
            return None
        return int(mark)

    def _read(self, work: Callable[[Any], T]) -> T:
        with self.reader_engine.connect() as connection, connection.begin():
            return work(connection)

    async def read(self, work: Callable[[Any], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._read_threads, self._read, work)
        except SQLAlchemyError as error:
            raise translated(error) from error

    async def checkpoint(self) -> bool:
        """Empty the write-ahead log, which else keeps what was deleted until it is written over; whether that was
        possible now: a reader may stand in the way."""
        return await asyncio.get_running_loop().run_in_executor(self._write_thread, self._checkpoint)

    def _checkpoint(self) -> bool:
        if self._connection is None or not _size(self._log):
            return True
        # Past SQLAlchemy, which would begin a transaction.
        raw: Any = self._connection.connection.driver_connection
        raw.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_WAIT_MS}")  # nobody can write meanwhile
        try:
            busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            raw.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        return not busy

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def aclose(self) -> None:
        await self._writer.close()
        if self._watch is not None:
            self._watch.close()
        await asyncio.get_running_loop().run_in_executor(self._write_thread, self._close)
        self._write_thread.shutdown()
        self._read_threads.shutdown()
        self.reader_engine.dispose()
        self.writer_engine.dispose()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


async def _emptying(database: SqliteDatabase) -> None:
    while True:
        await asyncio.sleep(CHECKPOINT_EVERY)
        try:
            await database.checkpoint()
        except SQLiteError as error:
            log.warning("checkpoint_failed", reason=str(error))


def require_database(path: Path) -> None:
    """`SetupError` for a file that is something else than a database of SQLite. One that is empty, or not there, is
    made one."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        head = file.read(len(HEADER))
        if head not in (b"", HEADER):
            raise SetupError(f"{path} is not a database of SQLite: something else has been put in its place.")


@contextlib.asynccontextmanager
async def open_sqlite(path: Path, *, readers: int = 3) -> AsyncIterator[SqliteDatabase]:
    """The database of a data folder, made if it is not there; tables are the migrations' business."""
    private.ensure_folder(path.parent)
    require_database(path)
    private.make_database(path)
    database = SqliteDatabase(path, readers=readers)
    emptying = asyncio.create_task(_emptying(database), name="chat-checkpoints")
    try:
        yield database
    finally:
        emptying.cancel()
        await asyncio.wait([emptying])
        await database.aclose()
