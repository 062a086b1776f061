"""Lists of which an operator wants more than one page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from attrs import evolve
from msgspec import UNSET

PAGE = 100
"""What a command lists at most in one answer."""

T = TypeVar("T")


async def first(
    most: int, request: Any, ask: Callable[[Any], Awaitable[Any]], rows: Callable[[Any], Sequence[T]]
) -> list[T]:
    """The first ``most`` rows of a list, asked for page by page. ``request`` is the record of the first question,
    without ``cursor`` and ``limit``; ``rows`` takes them out of an answer."""
    found: list[T] = []
    request = evolve(request, limit=min(PAGE, most))
    while len(found) < most:
        page = await ask(request)
        found += rows(page)
        if page.cursor is UNSET:
            break
        request = evolve(request, cursor=page.cursor)
    return found[:most]
