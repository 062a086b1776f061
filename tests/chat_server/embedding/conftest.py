"""A server as an application holds it, on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from chat_server import Server

from tests.chat_server.house import fresh_sqlite


@pytest.fixture
async def chat(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Server]:
    with fresh_sqlite(sqlite_template, tmp_path / "data") as store:
        async with Server(settings={"server": {"data": str(store.folder)}}) as chat:
            yield chat
