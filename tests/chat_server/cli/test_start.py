"""What a start of the embedded default imports. What only some configurations need comes when it is chosen, and what
only some requests need comes with the first of them. Names are compared, no clock is asked."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

LATER = {
    "alembic": "migrations, when there are any to run",
    "sqlalchemy.dialects.postgresql": "[ports] database = postgresql; schemas that say postgresql_where need it too",
    "sqlalchemy.orm": "nobody: tables are used without classes of their own",
    "asyncpg": "[ports] database = postgresql",
    "redis": "[ports] broker, cache, directory = redis",
    "rocketmq": "[ports] broker = rocketmq",
    "grpc": "[ports] rpc = grpc",
    "chat_server.rpc.grpc_rpc": "[ports] rpc = grpc",
    "google.protobuf": "RocketMQ and gRPC",
    "minio": "[ports] objects = s3",
    "urllib3": "[ports] objects = s3",
    "PIL": "the process that converts pictures",
    "httpx2": "a login by OpenID Connect, QQ or WeChat",
    "prometheus_client": "the first scrape",
    "segno": "the first QR code",
    "emoji": "the first reaction",
    "precis_i18n": "the first name",
    "fastapi": "applications that embed the server",
    "websockets.asyncio": "nobody: the transport reads frames by the sans-I/O protocol",
    "chat_server.cli.listing": "chat-server config and plugins",
    "chat_server.cli.check": "chat-server check",
}


def imported_by_a_start(data: Path) -> set[str]:
    """Every module that a server in a process of its own has imported when it prints its address."""
    program = "from chat_server.cli import main; main()"
    words = ["--dev", "--port", "0", "--data", str(data)]
    command = [sys.executable, "-X", "importtime", "-c", program, *words]
    log = data.with_suffix(".log")
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as server,
    ):
        assert server.stdout is not None
        line = server.stdout.readline()
        server.kill()
    assert "http://" in line, log.read_text()[-2000:]
    return set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", log.read_text(), re.MULTILINE))


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    data = tmp_path_factory.mktemp("start") / "data"
    first = imported_by_a_start(data)
    assert "alembic.operations" in first, "a new store is migrated, so the modules are listed as they are imported"
    return imported_by_a_start(data)


def test_the_start_is_seen(imported: set[str]) -> None:
    assert {"chat_server.server", "chat_server.gateway", "sqlalchemy.dialects.sqlite", "uvicorn", "uvloop"} <= imported


@pytest.mark.parametrize("module", LATER)
def test_a_default_start_does_not_import(module: str, imported: set[str]) -> None:
    assert importlib.util.find_spec(module) is not None, f"{module}: not installed here, so this test shows nothing"
    found = sorted(name for name in imported if f"{name}.".startswith(f"{module}."))
    assert not found, f"needed only by: {LATER[module]}"
