"""PostgreSQL: the same functions under `AsyncConnection.run_sync`.

Other servers write as well, and two transactions must not wait for each other in a circle. So each set-based function
has a transaction of its own, in which it takes its locks in order. All other work shares one; work that would wait
there longer than a moment, while it holds what its neighbours have locked, is run alone after it. What the database
gives up all the same, in favour of another transaction, is repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import structlog
from chat_common.backoff import pause
from chat_common.errors import Unavailable
from chat_common.settings import SetupError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from chat_server.store.database import SqlDatabase
from chat_server.store.postgresql_url import read_address
from chat_server.store.writer import AGAIN, Apply, BatchOutcome, Job, detail_of, is_passing, run_batch

T = TypeVar("T")
log = structlog.get_logger("chat.store")

_TRIES = 6
"""How often a transaction is run that the database gives up in favour of another one."""


def _apart(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs by what may share a transaction where others write too."""
    parts: dict[Apply | None, list[Job]] = {}
    for job in jobs:
        parts.setdefault(job.apply, []).append(job)
    return list(parts.values())


class PostgresDatabase(SqlDatabase):
    """PostgreSQL through asyncpg; ``url`` as `read_address` takes it."""

    dialect = "postgresql"

    def __init__(self, url: str, *, readers: int = 8) -> None:
        # The asyncio façade imports the whole ORM: only who needs it pays for it at start.
        from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

        super().__init__()
        address = read_address(url)
        self.engine: AsyncEngine = create_async_engine(
            address.url,
            connect_args=dict(address.arguments),
            pool_size=readers + 1,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,  # a traceback in the log shows no message
        )

    def _apart(self, jobs: Sequence[Job]) -> list[list[Job]]:
        return _apart(jobs)

    async def _run_jobs(self, jobs: Sequence[Job]) -> BatchOutcome:
        for attempt in range(1, _TRIES):
            try:
                return await self._run_once(jobs)
            except DBAPIError as error:
                if not is_passing(error):
                    raise
                log.warning("transaction_repeated", attempt=attempt, detail=detail_of(error))
                await asyncio.sleep(pause(attempt, 0.04, 1.0))
        return await self._run_once(jobs)

    async def _run_once(self, jobs: Sequence[Job]) -> BatchOutcome:
        try:
            async with self.engine.begin() as connection:
                return await connection.run_sync(run_batch, jobs)
        except OSError as error:  # the driver's own, where no connection could be made
            raise Unavailable("The database does not answer. Try again.", retry_after=AGAIN) from error

    async def read(self, work: Callable[[Any], T]) -> T:
        try:
            async with self.engine.connect() as connection:
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                async with connection.begin():
                    return await connection.run_sync(work)
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable("The database does not answer. Try again.", retry_after=AGAIN) from error

    async def aclose(self) -> None:
        await self._writer.close()
        await self.engine.dispose()


@contextlib.asynccontextmanager
async def open_postgres(url: str, *, readers: int = 8) -> AsyncIterator[PostgresDatabase]:
    """A PostgreSQL database by its address; `SetupError` says what is wrong with that."""
    try:
        database = PostgresDatabase(url, readers=readers)
    except ModuleNotFoundError as error:
        raise SetupError(
            f"PostgreSQL needs an extra, since {error.name} is not installed: install"
            " interesting-chat-server[postgresql]."
        ) from error
    try:
        yield database
    finally:
        await database.aclose()
