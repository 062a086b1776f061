"""A fresh database and a fresh Redis for the nodes of each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_server import nodes

from tests.chat_server.house import fresh_postgresql, postgresql_template
from tests.nodes.cluster import Cluster
from tests.services.postgresql import postgresql_address
from tests.services.redis import Redis, running_redis


@pytest.fixture(scope="session")
def postgresql() -> Iterator[tuple[str, str]]:
    """The address of a running PostgreSQL, and the name of a migrated, empty database in it, to be copied."""
    with postgresql_address() as address, postgresql_template(address) as template:
        yield address, template


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with running_redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def cluster(postgresql: tuple[str, str], redis: Redis, tmp_path: Path) -> Iterator[Cluster]:
    address, template = postgresql
    with fresh_postgresql(address, template, tmp_path / "data") as store:
        yield Cluster(store, redis.url, tmp_path)


@pytest.fixture(autouse=True)
def _directory_is_believed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh Redis counts as one that has lost its memory; tests are to see what the directory says."""
    monkeypatch.setattr(nodes, "REBUILT", 0.0)
