"""How the tests are cut into parts: which are quick, which share a worker, which begin first.

- ``quick``: needs no server beside this process and its children of one moment; `nox -s quick` runs these alone, and
  branch coverage is counted over them (a tracer makes whole servers several times as slow on Python 3.11).
- Workers of pytest-xdist (`-n 2 --dist loadfile`) take whole files, so that a file's servers are started once and its
  tests keep their order.
- Files that take long begin first, so that no worker is left alone with one of them at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

HERE = Path(__file__).parent

SERVERS = {"postgresql", "minio", "redis", "seaweedfs", "rocketmq", "browser"}
"""Fixtures, and parameters of fixtures, that stand for a real server."""

NOT_QUICK = (
    "contracts",
    "e2e",
    "examples",
    "faults",
    "faults_transaction",
    "fuzz",
    "hostile",
    "nodes",
    "proxies",
    "services",
    "webclient",
)
"""Folders whose tests start servers, browsers, or many processes."""

LONG = {
    "faults/test_kill_run_scaled.py": "kills under load on PostgreSQL and brokers",
    "faults/test_kill_run.py": "kills under load",
    "faults_transaction/test_kill_ledger.py": "kills of relays",
    "faults_transaction/test_eight_relays.py": "eight relays",
    "nodes/test_kills.py": "three nodes, killed under load",
    "nodes/test_restart.py": "two nodes, restarted in turn",
    "nodes/test_stopped.py": "two nodes, one stopped or killed",
    "faults/test_failure_list.py": "a server for each line of the list",
    "contracts/test_broker_rocketmq.py": "RocketMQ is slow to notice what is dead",
    "chat_common/protocol/test_session_stateful.py": "thousands of random sessions",
    "chat_server/im/test_cost.py": "a room at two sizes",
    "chat_server/im/test_replicas.py": "replicas after random changes",
    "chat_server/cli/test_serve.py": "servers as processes",
    "chat_oss/test_random_uploads.py": "thousands of random uploads",
    "chat_oss/test_converter.py": "pictures in processes of their own",
    "fuzz/test_openapi.py": "every command many times",
    "hostile/test_variations.py": "two hundred attacks",
    "chat_oss/test_dead_store.py": "a store that is killed",
}
"""Files that take more than a quarter of a minute; none of them is quick."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "quick: needs no server; given by tests/conftest.py")


_configure = structlog.configure


def _configure_uncached(**options: Any) -> None:
    _configure(**{**options, "cache_logger_on_first_use": False})


@pytest.fixture(autouse=True)
def _logs_as_they_were(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test decides what a later one of its worker logs or can capture: loggers are not cached, settings not kept."""
    monkeypatch.setattr(structlog, "configure", _configure_uncached)
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        name = _file(item)
        if _quick(item, name):
            item.add_marker(pytest.mark.quick)
        else:
            item.add_marker(pytest.mark.no_cover)
    order = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(_file(item), len(order)))


def _file(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).as_posix() if HERE in item.path.parents else item.path.name


def _quick(item: pytest.Item, name: str) -> bool:
    if name in LONG or name.startswith(tuple(f"{folder}/" for folder in NOT_QUICK)):
        return False
    fixtures: Any = getattr(item, "fixturenames", ())
    call = getattr(item, "callspec", None)
    values = {value for value in call.params.values() if isinstance(value, str)} if call is not None else set()
    return SERVERS.isdisjoint(fixtures) and SERVERS.isdisjoint(values) and not _uses_services(item)


def _uses_services(item: pytest.Item) -> bool:
    """Whether the test's module took the starting of a server from `tests.services`."""
    homes = {str(getattr(value, "__module__", "")) for value in vars(getattr(item, "module", object)).values()}
    return any(home.removeprefix("tests.services.") in SERVERS for home in homes)
