"""`chat-server` as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from tests.services.process import free_port


class Server:
    """`chat-server --dev` on a port that it keeps over restarts; without ``dev`` as it is put on the internet."""

    def __init__(self, data: Path, *options: str, env: dict[str, str] | None = None, dev: bool = True) -> None:
        self.data = data
        self.dev = dev
        self.port = free_port()
        self.options = options
        self.env = env or {}
        self.ready = False
        self.process: asyncio.subprocess.Process | None = None
        self.output: list[str] = []
        self._said = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def database(self) -> Path:
        return next(self.data.glob("*.db"))

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self._command(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={
                **os.environ,
                "PYTHONUNBUFFERED": "1",
                "CHAT__GROUPS__STRANGERS": "allow",
                "CHAT__LIMITS__POINTS": "0",
                **self.env,
            },
        )
        self.ready = False
        ready = asyncio.Event()
        self._reading = asyncio.create_task(self._read(ready))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ready.wait(), 90)
        if not self.ready:
            raise AssertionError("the server did not start:\n" + "".join(self.output[-50:]))

    def _command(self) -> list[str]:
        script = Path(sys.executable).with_name("chat-server")
        data = ["--data", str(self.data)]
        return [str(script), *(["--dev"] if self.dev else []), "--port", str(self.port), *data, *self.options]

    async def _read(self, ready: asyncio.Event) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.output.append(line.decode(errors="replace"))
            self._said.set()
            if f"http://127.0.0.1:{self.port}" in self.output[-1]:
                self.ready = True
                ready.set()
        ready.set()  # it has ended

    async def lines(self, last: str) -> list[str]:
        """What it has said, up to a line with ``last``."""
        while not any(last in line for line in self.output):
            self._said.clear()
            await asyncio.wait_for(self._said.wait(), 30)
        return list(self.output)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(how)
        await asyncio.wait_for(self.process.wait(), 30)
        if self._reading is not None:
            await self._reading
        self.process = None
