"""The gateway's short-lived tasks: one for each running call, none for a connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self

import structlog
from chat_common.errors import ChatError

log = structlog.get_logger("chat.gateway")


class Tasks:
    """An async context: what is spawned inside it ends with it. What a task raises is logged and harms nobody."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        for loop in self._loops:
            loop.cancel()
        self._loops.clear()
        if group is not None:
            await group.__aexit__(kind, error, trace)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this beside everything else; after the end of the context it is not run at all."""
        if self._group is None:
            work.close()
            return
        self._group.create_task(self._guarded(work))

    def every(
        self, seconds: float, work: Callable[[], Awaitable[None]], *, sooner: asyncio.Event | None = None
    ) -> None:
        """Run ``work`` again and again, ``seconds`` after its last end or when ``sooner`` is set, until the context
        ends."""
        assert self._group is not None
        self._loops.append(self._group.create_task(self._again(seconds, work, sooner)))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("task_failed")

    async def _again(self, seconds: float, work: Callable[[], Awaitable[None]], sooner: asyncio.Event | None) -> None:
        while True:
            if sooner is None:
                await asyncio.sleep(seconds)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(sooner.wait(), seconds)
                sooner.clear()
            try:
                await work()
            except ChatError as error:
                log.warning("background_refused", code=error.code, reason=error.message)
            except Exception:
                log.exception("background_failed")
