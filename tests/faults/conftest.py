"""No test of this folder may hang: what waits for ever is the very defect that they look for."""

from __future__ import annotations

import asyncio
import functools
import inspect
from pathlib import Path
from typing import Any

import pytest

LIMIT = 120.0
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # The hook is given the items of every folder, and only those of this one are its business.
        if HERE in item.path.parents and isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            marker = item.get_closest_marker("time_limit")
            item.obj = limited(item.obj, marker.args[0] if marker else LIMIT)


def limited(function: Any, seconds: float) -> Any:
    @functools.wraps(function)
    async def run(*arguments: Any, **named: Any) -> None:
        async with asyncio.timeout(seconds):
            await function(*arguments, **named)

    return run


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "time_limit(seconds): how long a test may take")
