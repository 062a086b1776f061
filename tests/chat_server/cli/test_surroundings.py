"""``chat-server check`` looks around: plugins' hooks, clocks, disk, descriptors, file modes, the policy of Redis."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from chat_common.clock import ManualClock
from chat_server.cli import check, main
from chat_server.cli.choice import Choice
from click.testing import CliRunner, Result

from tests.services.postgresql import asyncpg_url, fresh_database, running_postgresql
from tests.services.redis import running_redis

FAR = 3_600


def run(data: Path, environment: Mapping[str, str] | None = None, command: str = "check") -> Result:
    return CliRunner().invoke(main, ["--data", str(data), command], env=dict(environment or {}))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of a server that has run."""
    folder = tmp_path / "data"
    assert run(folder, command="migrate").exit_code == 0
    assert run(folder).output.endswith("everything is in order\n")
    return folder


PLUGIN = """
from chat_common.hookspecs import hookimpl

@hookimpl
def chat_commands(context):
    raise LookupError("no such template: welcome.txt")
"""


def install(folder: Path, name: str, code: str) -> None:
    """A distribution with one plugin, as pip would lay it down."""
    (folder / f"{name}.py").write_text(code)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[chat_common.plugins]\nmine = {name}\n")


def test_a_plugin_whose_hook_fails_is_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    site.mkdir()
    install(site, "failing_greeter", PLUGIN)
    monkeypatch.syspath_prepend(str(site))
    try:
        found = run(data)
    finally:
        sys.modules.pop("failing_greeter", None)
    assert found.exit_code == 1
    assert "Traceback" not in found.output
    (line,) = found.output.splitlines()
    assert "failing" in line
    assert line.endswith("chat_commands failed: LookupError: no such template: welcome.txt")


def test_a_file_from_the_future_shows_that_the_clock_is_wrong(data: Path) -> None:
    later = time.time() + FAR
    os.utime(data / "chat.db", (later, later))
    found = run(data)
    assert found.exit_code == 1
    (line,) = found.output.splitlines()
    assert line.startswith(f"clock: {data / 'chat.db'} was written 3")
    assert line.endswith("Set it by NTP.")


def test_the_clock_of_the_database_is_asked(tmp_path: Path) -> None:
    with running_postgresql() as server, fresh_database(server.address) as address:
        environment = {"CHAT__PORTS__DATABASE": "postgresql", "CHAT__DATABASE__POSTGRESQL__URL": asyncpg_url(address)}
        assert run(tmp_path, environment, "migrate").exit_code == 0
        assert run(tmp_path, environment).exit_code == 0
        choice = Choice(data=str(tmp_path), more=environment)
        for shift, where in ((FAR, "ahead of"), (-FAR, "behind")):
            clock = ManualClock(wall_ms=round((time.time() + shift) * 1000))
            (line,) = [line for line in check.problems(choice, clock) if not line.startswith("clock: ")]
            assert line.startswith("database.postgresql: the clock of this machine is 3")
            assert f" s {where} that of the database" in line


def test_a_full_disk_is_a_problem(data: Path) -> None:
    found = run(data, {"CHAT__SERVER__MIN_FREE": str(10**18)})
    assert found.exit_code == 1
    assert "server.data: The disk of the data folder is full" in found.output


def test_how_many_files_may_be_open_is_said(data: Path) -> None:
    found = run(data, {"CHAT__CONNECTIONS__MAX_CONNECTIONS": "100000000"})
    assert (found.exit_code, "for as many raise the limit" in found.output) == (0, True)


def test_what_others_may_read_is_said_and_closed(data: Path) -> None:
    (data / "chat.db").chmod(0o644)
    found = run(data)
    assert found.exit_code == 0, "it is mended"
    said = f"{data / 'chat.db'} is open to other users of this machine, and is closed to them now."
    assert said in found.output.splitlines()
    assert (data / "chat.db").stat().st_mode & 0o777 == 0o600
    assert "is open to other users" not in run(data).output


def test_what_others_may_read_and_we_cannot_close_is_a_problem(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "chat.db").chmod(0o644)
    monkeypatch.setattr(os, "geteuid", lambda: data.stat().st_uid + 1)
    found = run(data)
    assert found.exit_code == 1
    (line,) = [line for line in found.output.splitlines() if line.startswith("server.data: ")]
    assert line.startswith(f"server.data: {data / 'chat.db'} is open to other users")
    assert "take its rights away" in line


@pytest.mark.parametrize("port", ["broker", "directory"])
def test_a_redis_that_may_throw_away_is_named(data: Path, tmp_path: Path, port: str) -> None:
    for policy, code in (("noeviction", 0), ("allkeys-lru", 1)):
        folder = tmp_path / policy
        folder.mkdir()
        with running_redis(folder, "--maxmemory", "64mb", "--maxmemory-policy", policy) as redis:
            chosen = {f"CHAT__PORTS__{port.upper()}": "redis", f"CHAT__{port.upper()}__REDIS__URL": redis.url}
            found = run(data, chosen)
        assert found.exit_code == code, found.output
        assert (f"{port}: Redis has the maxmemory-policy allkeys-lru. Set it to noeviction" in found.output) == code
