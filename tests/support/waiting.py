"""Waiting for a condition of another task or process, with a limit that only a defect reaches."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool | Awaitable[bool]], timeout: float = 45.0, what: str = "") -> None:
    """Return when ``condition()`` holds; AssertionError naming ``what`` after ``timeout`` seconds."""
    try:
        async with asyncio.timeout(timeout):
            while not await _holds(condition):  # noqa: ASYNC110 - other processes set no event of ours
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(
            f"still not so after {timeout} s: {what or inspect.getsource(condition).strip()}"
        ) from None


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    held = condition()
    return held if isinstance(held, bool) else await held
