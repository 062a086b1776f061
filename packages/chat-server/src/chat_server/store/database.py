"""The `Database` port over SQLAlchemy Core, whatever the vendor: all changes go through one writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from chat_server.store.writer import Apply, BatchOutcome, Job, Writer

T = TypeVar("T")


class SqlDatabase:
    """The `Database` port; `SqliteDatabase` and `PostgresDatabase` say how a batch and a read are run."""

    dialect: str

    def __init__(self) -> None:
        self._writer = Writer(self._run_jobs, self._apart)

    def commit_mark(self) -> int | None:
        return None

    def _apart(self, jobs: Sequence[Job]) -> list[list[Job]]:
        """The transactions of a batch, one after the other."""
        return [list(jobs)]

    async def _run_jobs(self, jobs: Sequence[Job]) -> BatchOutcome:
        raise NotImplementedError

    async def change(self, work: Callable[[Any], T], by: str = "") -> T:
        result: T = await self._writer.put(None, work, by)
        return result

    async def change_many(self, apply: Apply, item: Any, by: str = "") -> Any:
        return await self._writer.put(apply, item, by)

    async def read(self, work: Callable[[Any], T]) -> T:
        raise NotImplementedError
