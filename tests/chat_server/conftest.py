"""The rooms over a fresh database, on each engine: `house` without a relay, `server` with everything that runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from chat_server.server import Server

from tests.chat_server.house import House, Store, fresh_postgresql, fresh_sqlite, migrated, opened, postgresql_template
from tests.services.postgresql import postgresql_address


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty database file, to be copied."""
    path = tmp_path_factory.mktemp("template") / "chat.db"
    migrated(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql() -> Iterator[tuple[str, str]]:
    """The address of a running PostgreSQL, and the name of a migrated, empty database in it, to be copied."""
    with postgresql_address() as address, postgresql_template(address) as template:
        yield address, template


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A fresh database on each engine."""
    if request.param == "sqlite":
        with fresh_sqlite(request.getfixturevalue("sqlite_template"), tmp_path / "data") as sqlite:
            yield sqlite
    else:
        address, template = request.getfixturevalue("postgresql")
        with fresh_postgresql(address, template, tmp_path / "data") as postgresql:
            yield postgresql


@pytest.fixture
async def house(store: Store) -> AsyncIterator[House]:
    async with opened(store) as house:
        yield house


@pytest.fixture
async def server(store: Store) -> AsyncIterator[Server]:
    """A server in this process, with relay, fan-out and background work."""
    async with Server(settings=store.settings) as server:
        yield server
