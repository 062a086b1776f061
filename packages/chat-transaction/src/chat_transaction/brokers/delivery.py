"""One call of a handler, and what it says about its batch; the task that makes the calls, and its end: the same for
every broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from chat_common import backoff
from chat_common.ports.broker import BrokerRecord, Handler, NotHandled

log = logging.getLogger(__name__)

_RESTART = 0.2
_CANCELLED = 1.0


async def outcome(handler: Handler, batch: Sequence[BrokerRecord]) -> NotHandled | None:
    """Run the handler; None when all is handled, else what is not.

    Whatever it raises is a failure, a `CancelledError` too, unless it is the calling task that is cancelled.
    """
    try:
        await handler(batch)
    except NotHandled as error:
        return error if error.failed or error.later else None
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        if is_cancelled():
            raise
        log.exception("a handler of topic %s failed", batch[0].topic)
        return NotHandled(batch)
    return None


def is_cancelled() -> bool:
    """Whether somebody has cancelled the running task: where not, a `CancelledError` comes from what it called."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def persistently(work: Callable[[], Awaitable[None]], what: str, *, pause: float = _RESTART) -> None:
    """Run ``work`` until it returns; ``pause`` seconds after it has raised run it again: no fault may stop a worker for
    good."""
    while True:
        try:
            return await work()
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            log.error("%s was cancelled from inside; it starts again", what)
        except Exception:
            log.exception("%s failed; it starts again", what)
        await asyncio.sleep(pause)


async def ended(tasks: Collection[asyncio.Task[Any]], patience: float, what: str) -> None:
    """Wait ``patience`` seconds for the tasks, then cancel them; not for ever even if they do not listen to that."""
    if not tasks:
        return
    _, hanging = await asyncio.wait(tasks, timeout=patience)
    if hanging:
        log.warning("%s has not ended after %g s: it is cancelled", what, patience)
        await cancelled(hanging, what)


async def cancelled(tasks: Collection[asyncio.Task[Any]], what: str) -> None:
    """Cancel the tasks, and wait a second for them to end."""
    for task in tasks:
        task.cancel()
    if tasks:
        _, deaf = await asyncio.wait(tasks, timeout=_CANCELLED)
        if deaf:
            log.error("%s does not end when it is cancelled: it is left alone", what)


def retry_in(error: NotHandled, first: float, cap: float) -> float:
    """Seconds until what was not handled comes again."""
    if error.retry_in is not None:
        return error.retry_in
    return backoff.pause(max((record.attempt for record in error.failed), default=1), first, cap)
