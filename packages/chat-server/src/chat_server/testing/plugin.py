"""The pytest plugin (entry point ``pytest11``): fixtures ``chat``, ``ann``, ``bob``, ``served_chat``, ``advance`` and
``faults``. It imports nothing of the server, so that it costs other people's test runs nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from chat_common.client import ChatClient

    from chat_server.testing.faults import Faults
    from chat_server.testing.running import RunningChat

    fixture = pytest.fixture
else:
    try:
        from pytest_asyncio import fixture
    except ImportError:  # anyio's plugin runs coroutine fixtures too, for tests that it runs.
        fixture = pytest.fixture


@pytest.fixture
def chat_options() -> Mapping[str, Any]:
    """What the server of ``chat`` is made with: the arguments of `Server`, such as ``settings``, ``plugins`` and
    ``identify``. Override it in a conftest or a module of your own."""
    return {}


@pytest.fixture(scope="session")
def chat_template() -> Iterator[Path]:
    """An empty database with all tables, made once and copied for each test."""
    from chat_server.testing.store import template

    with template() as made:
        yield made


@fixture
async def chat(chat_options: Mapping[str, Any], chat_template: Path) -> AsyncIterator[RunningChat]:
    """A server of this test alone, in memory, with a clock that stands still."""
    from chat_server.testing.running import running

    async with running(chat_options, chat_template) as made:
        yield made


@fixture
async def ann(chat: RunningChat) -> ChatClient:
    """A connected client of a user called Ann."""
    return await chat.client("Ann")


@fixture
async def bob(chat: RunningChat) -> ChatClient:
    """A connected client of a user called Bob."""
    return await chat.client("Bob")


@fixture
async def served_chat(chat: RunningChat) -> AsyncIterator[str]:
    """The ``http://127.0.0.1:PORT`` of the same server, for clients and browsers of other processes."""
    async with chat.served() as url:
        yield url


@pytest.fixture
def advance(chat: RunningChat) -> Callable[[float], Awaitable[None]]:
    """``await advance(seconds)`` moves the clock, and lets the server do what is due by then."""
    return chat.advance


@pytest.fixture
def faults(chat: RunningChat) -> Faults:
    """What goes wrong between the server and its clients in process."""
    return chat.faults
