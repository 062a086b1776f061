"""A Redis primary with a replica, and a Sentinel that watches them: the binary is the server's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import redis
import redis.sentinel

from tests.services.process import Child, free_port
from tests.services.redis import Redis, find_binary

NAME = "chat"
_DOWN_AFTER = 500
"""Milliseconds until a primary that does not answer is replaced."""


class Sentinel:
    """``url`` is what a client is given; ``primary`` and ``replica`` are the servers as they were at the start."""

    def __init__(self, folder: Path) -> None:
        self.primary = Redis(folder / "primary")
        self.replica = Redis(
            folder / "replica", "--replicaof", "127.0.0.1", str(self.primary.port), "--repl-diskless-sync-delay", "0"
        )
        self.port = free_port()
        self.url = f"redis+sentinel://127.0.0.1:{self.port}/{NAME}/0"
        binary = find_binary()
        assert binary is not None
        file = folder / "sentinel.conf"
        file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {NAME} 127.0.0.1 {self.primary.port} 1\n"
            f"sentinel down-after-milliseconds {NAME} {_DOWN_AFTER}\n"
            f"sentinel failover-timeout {NAME} 3000\n"
        )
        self._child = Child([binary, str(file), "--sentinel"], folder / "sentinel.log")

    def start(self) -> None:
        self.primary.start()
        self.replica.start()
        self._child.start(self._sees_the_replica, 30)

    def kill(self) -> None:
        for each in (self._child, self.replica, self.primary):
            each.kill()

    def _sees_the_replica(self) -> bool:
        try:
            known = redis.sentinel.Sentinel([("127.0.0.1", self.port)], socket_timeout=5).discover_slaves(NAME)
            with redis.Redis(port=self.primary.port, socket_timeout=5) as client:
                state = client.info("replication").get("slave0", {}).get("state")
        except redis.RedisError:
            return False
        return ("127.0.0.1", self.replica.port) in known and state == "online"


@contextlib.contextmanager
def running_sentinel(folder: Path) -> Iterator[Sentinel]:
    folder.mkdir(parents=True, exist_ok=True)
    sentinel = Sentinel(folder)
    sentinel.start()
    try:
        yield sentinel
    finally:
        sentinel.kill()
