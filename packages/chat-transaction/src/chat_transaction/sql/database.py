"""The database port over a plain SQLAlchemy engine: for an application that has one already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from chat_common.backoff import pause
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")
Item = TypeVar("Item")

_TRIES = 5
_WRITERS = 8
"""Transactions at once through a synchronous engine."""


class EngineDatabase:
    """`chat_common.ports.database.Database` over a synchronous or asynchronous engine: one transaction a call, in the
    order of the calls, whoever they are ``by``.

    Changes through a synchronous engine run in threads: one on SQLite, where one transaction writes at a time, so that
    an effect which does not return there holds up all others; a few elsewhere. On PostgreSQL each statement of a read
    has its own snapshot. An engine that commits by itself is used with transactions here all the same.
    """

    def __init__(self, engine: Engine | AsyncEngine) -> None:
        self._engine = _transactional(engine)
        # Each statement sees what is committed before it, as in a transaction of READ COMMITTED; two round trips less.
        self._reader = (
            self._engine.execution_options(isolation_level="AUTOCOMMIT")
            if self.dialect == "postgresql"
            else self._engine
        )
        threads = 1 if self.dialect == "sqlite" else _WRITERS
        self._writer = ThreadPoolExecutor(threads, thread_name_prefix="chat-outbox")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[EngineDatabase]:
        try:
            yield self
        finally:
            await asyncio.to_thread(self._writer.shutdown)

    @property
    def dialect(self) -> str:
        return self._engine.dialect.name

    def commit_mark(self) -> int | None:
        return None

    async def read(self, work: Callable[[Any], T]) -> T:
        if isinstance(self._reader, AsyncEngine):
            async with self._reader.connect() as connection:
                return await connection.run_sync(work)
        return await asyncio.to_thread(_within, self._reader.connect, work)

    async def change(self, work: Callable[[Any], T], by: str = "") -> T:
        return await asyncio.shield(asyncio.ensure_future(self._change(work)))

    async def change_many(self, apply: Callable[[Any, Sequence[Item]], Sequence[Any]], item: Item, by: str = "") -> Any:
        (outcome,) = await self.change(lambda connection: apply(connection, [item]))
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def _change(self, work: Callable[[Any], T]) -> T:
        for left in reversed(range(_TRIES)):
            try:
                return await self._change_once(work)
            except DBAPIError as error:
                if not left or not _may_pass(error):
                    raise
            await asyncio.sleep(pause(_TRIES - left, 0.02, 0.5))
        raise AssertionError("not reached")

    async def _change_once(self, work: Callable[[Any], T]) -> T:
        if isinstance(self._engine, AsyncEngine):
            async with self._engine.begin() as connection:
                return await connection.run_sync(_locking, work)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._writer, _within, self._engine.begin, lambda connection: _locking(connection, work)
        )


def _transactional(engine: Engine | AsyncEngine) -> Engine | AsyncEngine:
    """An effect and the note that it happened must commit together, or what failed is taken for done."""
    plain = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    level = plain.get_execution_options().get("isolation_level") or plain.dialect._on_connect_isolation_level
    if level != "AUTOCOMMIT":
        return engine
    return engine.execution_options(
        isolation_level="SERIALIZABLE" if plain.dialect.name == "sqlite" else "READ COMMITTED"
    )


def _within(opened: Callable[[], Any], work: Callable[[Any], T]) -> T:
    try:
        with opened() as connection:
            return work(connection)
    except (StopIteration, GeneratorExit) as error:
        # No future can carry the first, and nobody takes the second for a failure: who waits would wait for ever.
        raise RuntimeError(f"The function raised {error!r}, which no future can carry.") from error


def _locking(connection: Any, work: Callable[[Any], T]) -> T:
    """On SQLite take the write lock first: two transactions that read and then want to write would block each other."""
    if connection.dialect.name == "sqlite" and not connection.connection.driver_connection.in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    return work(connection)


def _may_pass(error: DBAPIError) -> bool:
    """A deadlock or a conflict that the database resolved at our cost, or a lock of another SQLite writer."""
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return state in ("40001", "40P01") or "database is locked" in str(error.orig)
