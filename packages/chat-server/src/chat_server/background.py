"""The background tasks of a server: run while it does, again when they raise, and some on one server at a time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from chat_common.assembly import Assembly
from chat_common.backoff import pause
from chat_common.errors import ChatError
from chat_common.plugins import Contributions
from chat_common.records import Context, Task

from chat_server.store.leases import Leases

log = structlog.get_logger("chat.server")


async def if_it_can(work: Callable[[], Awaitable[object]]) -> None:
    """Work of the last moment that may be left undone, because the next start does it: that the database is away is no
    reason to end in an error."""
    try:
        await work()
    except ChatError as error:
        log.warning("left_undone", reason=error.message)


@contextlib.asynccontextmanager
async def background(contributions: Contributions, assembly: Assembly, leases: Leases | None) -> AsyncIterator[None]:
    """Run the background tasks while the server does; without ``leases`` it is alone with its database."""

    def here(task: Task) -> Task:
        return leases.once(task) if task.once and leases is not None else task

    running = [
        asyncio.create_task(
            _restarted(here(owned.record), assembly.context(owned.owner)), name=f"task {owned.record.name}"
        )
        for owned in contributions.tasks
    ]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _restarted(task: Task, context: Context) -> None:
    """Run a task again when it raises, after about 1 s, 2 s, … at most a minute."""
    for attempt in itertools.count(1):
        try:
            await task.run(context)
            return
        except Exception:
            again = pause(attempt, 1.0, 60.0)
            log.exception("task_failed", task=task.name, again_in=round(again, 1))
        await asyncio.sleep(again)
