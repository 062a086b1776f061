"""``chat-server --gateways N``: one process with the rooms and the database, and N with the sockets, on one port.

This one only starts them, starts again what dies, and ends them in order. They call each other over Unix sockets in a
folder that nobody else can open; no other service is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog
from attrs import define, field
from chat_common.backoff import pause
from chat_common.settings import SetupError

from chat_server import logs
from chat_server.cli.choice import Choice
from chat_server.cli.serve import check_dev, listen
from chat_server.cli.supervised import VARIABLE, Orders
from chat_server.roles import GATEWAY, ROOMS
from chat_server.server import Server

log = structlog.get_logger("chat.gateways")

CORE = "core"
PROGRAM = "from chat_server.cli import main; main()"
START = 60.0
"""Seconds within which a process is ready; one that is not is ended."""
LONG_ENOUGH = 30.0
"""Seconds after which a process that dies is started at once; sooner, after a pause that grows."""
FIRST, CAP = 0.2, 10.0
END = 45.0
"""Seconds that a process gets to end in order."""


@define(eq=False)
class Child:
    """One process: started, watched, started again."""

    name: str
    environ: Mapping[str, str]
    words: Sequence[str]
    listen: str
    public_port: int
    process: asyncio.subprocess.Process | None = None
    ready: asyncio.Future[str] = field(factory=lambda: asyncio.get_running_loop().create_future())
    ending: bool = False
    _line: socket.socket | None = None

    async def run(self) -> None:
        """Until `end`; `SetupError` when it fails before it was ready for the first time."""
        failures = 0
        loop = asyncio.get_running_loop()
        while not self.ending:
            began = loop.time()
            code = await self._once()
            if self.ending:
                return
            if not self.ready.done():
                raise SetupError(f"The process {self.name} did not come up; what it says of it stands above.")
            failures = 0 if loop.time() - began > LONG_ENOUGH else failures + 1
            again = pause(failures, FIRST, CAP) if failures else 0.0
            log.error("process_died", process=self.name, code=code, again_in=round(again, 1))
            await asyncio.sleep(again)

    async def _once(self) -> int:
        if self.listen:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.listen)
        mine, its = socket.socketpair()
        with its:
            orders = Orders(its.fileno(), self.listen, self.public_port)
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, *self.words,
                env={**self.environ, VARIABLE: msgspec.json.encode(orders).decode()},
                pass_fds=[its.fileno()],
                start_new_session=True,  # Ctrl+C is for the parent, which ends its children in order.
            )  # fmt: skip
        self._line = mine
        try:
            said = asyncio.create_task(self._hear(mine))
            code = await self.process.wait()
            said.cancel()
            await asyncio.gather(said, return_exceptions=True)
            return code
        finally:
            mine.close()

    async def _hear(self, line: socket.socket) -> None:
        line.setblocking(False)
        loop, heard = asyncio.get_running_loop(), b""
        try:
            async with asyncio.timeout(START):
                while not heard.endswith(b"\0"):
                    more = await loop.sock_recv(line, 65_536)
                    if not more:
                        return
                    heard += more
        except TimeoutError:
            log.error("process_not_ready", process=self.name, seconds=START)
            self.signal(signal.SIGKILL)
            return
        if not self.ready.done():
            self.ready.set_result(heard[:-1].decode())
        log.info("process_ready", process=self.name, pid=self.process.pid if self.process else 0)

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def end(self) -> None:
        """In order; after `END` seconds at once."""
        self.ending = True
        process = self.process
        if process is None:
            return
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END):
                await process.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await process.wait()


def serve_gateways(choice: Choice, dev: int, number: int) -> int:
    """Run until SIGTERM or SIGINT; the exit code."""
    settings = Server(config=choice.config, environ=choice.environ).settings
    section = settings.section
    logs.configure(section("log").level, section("log").style)
    server = section("server")
    if getattr(section("ports"), "directory", None) not in (None, "memory"):
        raise SetupError("--gateways is for one machine: leave [ports] directory out, or write [server] roles.")
    check_dev(server.host, dev, bool(dev) or section("auth").dev)
    folder = Path(tempfile.mkdtemp(prefix="chat-"))
    try:
        # Bound and never listened on: it keeps the port for the gateways, and has made a real one of 0.
        with listen(server.host, server.port, True) as kept:
            plan = _plan(choice, dev, number, folder, kept.getsockname()[1], server.trusted_proxies)
            return asyncio.run(_run(plan))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _plan(
    choice: Choice, dev: int, number: int, folder: Path, port: int, trusted: Sequence[str]
) -> Callable[[], list[Child]]:
    words = ["--dev"] * dev + (["--config", str(choice.config)] if choice.config is not None else [])
    common = {**choice.environ, "CHAT__SERVER__PORT": str(port), "CHAT__PORTS__RPC": "grpc"}
    pages = str(folder / "http")

    def environ(name: str, roles: Sequence[str], more: Mapping[str, str]) -> Mapping[str, str]:
        own = {
            "CHAT__SERVER__NODE": name,
            "CHAT__SERVER__ROLES": ",".join(roles),
            "CHAT__RPC__GRPC__ADDRESS": f"unix:{folder / name}",
        }
        return {**common, **own, **more}

    def children() -> list[Child]:
        proxies = {"CHAT__SERVER__TRUSTED_PROXIES": msgspec.json.encode([*trusted, "unix"]).decode()}
        core = Child(CORE, environ(CORE, ROOMS, proxies), words, pages, port)
        asks = {
            "CHAT__PORTS__DIRECTORY": "rpc",
            "CHAT__DIRECTORY__RPC__ADDRESS": f"unix:{folder / CORE}",
            "CHAT__HTTP__FORWARD_TO": f"unix:{pages}",
        }
        names = [f"gateway-{which}" for which in range(1, number + 1)]
        return [core, *(Child(name, environ(name, [GATEWAY], asks), words, "", port) for name in names)]

    return children


async def _run(plan: Callable[[], list[Child]]) -> int:
    core, *gateways = plan()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    running: list[asyncio.Task[None]] = []

    async def up(children: Sequence[Child]) -> bool:
        """Started and ready; False: asked to stop before. Raises what one of them failed with."""
        running.extend(asyncio.create_task(child.run(), name=child.name) for child in children)
        for child in children:
            waited: set[asyncio.Future[Any]] = {child.ready, stopping, *running}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                if task.done():
                    task.result()
        return not stopping.done()

    try:
        if await up([core]) and await up(gateways):
            print(core.ready.result(), flush=True)
            await asyncio.wait([stopping, *running], return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                if task.done():
                    task.result()
    finally:
        stopping.cancel()
        # Clients first: their running calls are answered by the rooms.
        await asyncio.gather(*(child.end() for child in gateways))
        await core.end()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return 0
