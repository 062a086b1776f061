"""`chat-server` processes that start in a moment, so that a run of many kills is not a run of many imports.

A mother process imports the server once and forks a child for each life. A child is a process like any other: it runs
the command line's own `main`, and ``kill -9`` ends it as it would end any.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

from tests.services.process import free_port

ROOT = Path(__file__).parents[2]
MOTHER = """
import json, os, sys
import uvicorn, alembic.command, chat_server.server, chat_server.cli.serve
from chat_server.cli import main

if late := float(os.environ.get("CHAT_FAULT_LATE", "0")):
    from tests.support.lateness import delay_answers

    delay_answers(late)

exec(os.environ.get("CHAT_FAULT_FIRST", ""))

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        sys.stdin.close()
        sys.argv = ["chat-server", *json.loads(line)]
        main()
        os._exit(0)
    print(f"zygote: born {pid}", flush=True)
    os.waitpid(pid, 0)
    print(f"zygote: dead {pid}", flush=True)
"""
"""Forks a child for each line of arguments, and tells of its birth and death."""


class Zygote:
    """`chat-server --dev` on a port that it keeps over lives. Use `open` first, `close` at the end.

    ``late``: what its rooms answer one another comes up to so many seconds late; see `tests.support.lateness`.
    ``first``: statements that it runs before its first life, to make the server's own times shorter.
    """

    def __init__(self, data: Path, *options: str, late: float = 0.0, first: str = "") -> None:
        self.data = data
        self.late, self.first = late, first
        self.port = free_port()
        self.options = options
        self.output: list[str] = []
        self.pid: int | None = None
        self._mother: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._dead = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        self._mother = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            MOTHER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=ROOT,
            env={
                **os.environ,
                "CHAT__GROUPS__STRANGERS": "allow",
                "CHAT__LIMITS__POINTS": "0",
                "CHAT_FAULT_LATE": str(self.late),
                "CHAT_FAULT_FIRST": self.first,
            },
        )
        self._reading = asyncio.create_task(self._read())

    async def close(self) -> None:
        await self.stop(signal.SIGKILL)
        assert self._mother is not None
        assert self._mother.stdin is not None
        assert self._reading is not None
        self._mother.stdin.close()
        await asyncio.wait_for(asyncio.gather(self._mother.wait(), self._reading), 30)

    async def start(self) -> None:
        """A new life; returns when the server says that it accepts connections."""
        assert self._mother is not None
        assert self._mother.stdin is not None
        self._ready.clear()
        self._dead.clear()
        arguments = ["--dev", "--port", str(self.port), "--data", str(self.data), *self.options]
        self._mother.stdin.write(json.dumps(arguments).encode() + b"\n")
        waiting = [asyncio.create_task(event.wait()) for event in (self._ready, self._dead)]
        await asyncio.wait(waiting, timeout=150, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if not self._ready.is_set():
            raise AssertionError("the server did not start:\n" + "".join(self.output[-50:]))

    async def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Ends this life and waits for its end."""
        self.send(how)
        await self.ended()

    def send(self, number: signal.Signals) -> None:
        """This signal, if it lives."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def ended(self) -> None:
        """When this life is over."""
        if self.pid is not None:
            await asyncio.wait_for(self._dead.wait(), 30)
            self.pid = None

    async def _read(self) -> None:
        assert self._mother is not None
        assert self._mother.stdout is not None
        async for line in self._mother.stdout:
            text = line.decode(errors="replace")
            self.output.append(text)
            if text.startswith("zygote: born "):
                self.pid = int(text.split()[-1])
            elif text.startswith("zygote: dead "):
                self._dead.set()
            elif self.url in text:
                self._ready.set()
