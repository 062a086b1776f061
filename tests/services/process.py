"""A child process that a test starts, kills, stops and starts again."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

PORTS = range(10_000, 32_000)
"""Below the range from which clients get theirs: a server that is stopped and started again finds its port free."""


def free_port(*beside: int) -> int:
    """A port that nobody listens at now, nor at those that lie ``beside`` it by so much."""
    while True:
        port = secrets.choice(PORTS)
        with contextlib.suppress(OSError), contextlib.ExitStack() as probes:
            for offset in (0, *beside):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", port + offset))
            return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Child:
    """One command; its output goes to ``log``. ``user`` is a (uid, gid) that it drops to."""

    def __init__(
        self,
        command: list[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        user: tuple[int, int] | None = None,
    ) -> None:
        self._command = command
        self.log = log
        self._environment = dict(environment) if environment is not None else None
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, ready: Callable[[], bool], patience: float = 60.0) -> None:
        """Start it and wait until ``ready`` says so; `RuntimeError` with the end of its log if it does not."""
        uid, gid = self._user or (None, None)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                user=uid,
                group=gid,
                extra_groups=[] if uid is not None else None,
                cwd="/" if uid is not None else None,
                start_new_session=True,
            )
        deadline = time.monotonic() + patience
        while not ready():
            if not self.alive or time.monotonic() > deadline:
                self.kill()
                tail = self.log.read_bytes()[-2000:].decode(errors="replace")
                raise RuntimeError(f"{self._command[0]} did not come up within {patience} s:\n{tail}")
            time.sleep(0.02)

    def send(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait(30)

    def stop(self, number: int = signal.SIGTERM, patience: float = 30.0) -> None:
        """Ask it to end and wait; SIGKILL when it does not."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self.kill()
