"""A program of ours as a process that is typed to and read from, line by line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.waiting import until


class Program:
    """``python SCRIPT ARGUMENTS`` with pipes; what it prints stands in ``lines``."""

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self.lines: list[str] = []
        self.seen = 0
        self.process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self.arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop(signal.SIGKILL)

    async def stop(self, how: signal.Signals) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(how)
        await self.ended()

    async def ended(self) -> int:
        assert self.process is not None
        assert self._reading is not None
        await asyncio.wait_for(asyncio.gather(self.process.wait(), self._reading), 15)
        return self.process.returncode or 0

    async def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))

    async def type(self, line: str) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        await self.process.stdin.drain()

    async def says(self, text: str, timeout: float = 60.0) -> str:
        """The next line, after those already waited for, that holds ``text``."""

        def found() -> bool:
            return any(text in line for line in self.lines[self.seen :])

        printed = "\n".join
        try:
            await until(found, timeout, text)
        except AssertionError:
            raise AssertionError(f"{text!r} was not printed:\n{printed(self.lines)}") from None
        number = next(n for n in range(self.seen, len(self.lines)) if text in self.lines[n])
        self.seen = number + 1
        return self.lines[number]


async def output_of(program: str, folder: Path) -> str:
    """What a program, given as text, prints when it is run in a folder; it must end well."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PYTHONUTF8": "1"},
    )
    out, err = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == 0, err.decode()
    return out.decode()
