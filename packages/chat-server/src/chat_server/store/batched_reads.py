"""Reads that many ask for at once: what waits while one runs is the next one, in one transaction and one thread hop.

Ten thousand clients that come back at the same moment then cost some hundred transactions instead of fifty thousand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from chat_common.ports.database import Database

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")

BATCH = 200
"""Most items of one transaction: bounds its time, and the variables of its longest statement."""


class BatchedReads(Generic[I, R]):
    """``apply(connection, items)`` returns one outcome an item, in order; one that is an exception is raised for that
    item alone. No timer: an item that comes alone is read at once."""

    def __init__(self, database: Database, apply: Callable[[Any, Sequence[I]], Sequence[R | Exception]]) -> None:
        self._database = database
        self._apply = apply
        self._waiting: list[tuple[I, asyncio.Future[R]]] = []
        self._busy: asyncio.Task[None] | None = None

    async def read(self, item: I) -> R:
        """The outcome of this item, read after the call."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, future))
        if self._busy is None:
            self._busy = loop.create_task(self._drain(), name="chat-reader")
        return await future

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                await self._one(batch)
        finally:
            self._busy = None

    async def _one(self, batch: Sequence[tuple[I, asyncio.Future[R]]]) -> None:
        items = [item for item, _ in batch]
        outcomes: Sequence[R | Exception]
        try:
            outcomes = await self._database.read(lambda connection: self._apply(connection, items))
        except Exception as error:
            if len(batch) > 1:  # One bad item must not sink its neighbours.
                for each in batch:
                    await self._one([each])
                return
            outcomes = [error]
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
