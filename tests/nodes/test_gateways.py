"""``chat-server --gateways 2``, the command itself: two processes with sockets on one port, one with the rooms."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from attrs import define, field
from chat_common.client import MessageReceived, connect, dev_login

from tests.support.raw import raw
from tests.support.waiting import until

PROGRAM = "from chat_server.cli import main; main()"


@define
class Command:
    """The command, its address, and what it has logged."""

    process: asyncio.subprocess.Process
    url: str = ""
    log: list[str] = field(factory=list)

    def pids(self, name: str) -> list[int]:
        """The processes that have run under this name, the newest last."""
        ready = [line for line in self.log if '"process_ready"' in line and f'"{name}"' in line]
        return [int(re.findall(r'"pid": (\d+)', line)[0]) for line in ready]

    async def kill(self, name: str) -> None:
        """End it with SIGKILL; returns when it is there again."""
        known = self.pids(name)
        os.kill(known[-1], signal.SIGKILL)
        await until(lambda: len(self.pids(name)) > len(known), 60, f"{name} comes back")


@asynccontextmanager
async def gateways(data: Path, number: int) -> AsyncIterator[Command]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, "--gateways", str(number), "--dev", "--port", "0", "--data", str(data),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "CHAT__LIMITS__POINTS": "0", "CHAT__LOG__STYLE": "json", "CHAT__GROUPS__STRANGERS": "allow"},
    )  # fmt: skip
    command = Command(process)
    assert process.stdout is not None
    assert process.stderr is not None
    stderr = process.stderr

    async def read() -> None:
        async for line in stderr:
            command.log.append(line.decode())

    reading = asyncio.create_task(read())
    try:
        async with asyncio.timeout(120):
            said = (await process.stdout.readline()).decode()
        found = re.search(r"http://\S+", said)
        assert found is not None, (said, "".join(command.log))
        command.url = found[0]
        yield command
    except BaseException:
        print("".join(command.log))
        raise
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        reading.cancel()


async def on_both(url: str, names: Sequence[str]) -> dict[str, str]:
    """Which gateways have answered so many connections; the kernel spreads them."""
    seen: dict[str, str] = {}
    for name in names:
        async with raw(url) as client:
            seen[name] = (await client.hello(None, name)).node
    return seen


async def test_people_at_two_processes_talk_and_whatever_is_killed_comes_back(tmp_path: Path) -> None:
    async with gateways(tmp_path / "data", 2) as command, AsyncExitStack() as stack:
        nodes = await on_both(command.url, [f"g{number}" for number in range(12)])
        assert set(nodes.values()) == {"gateway-1", "gateway-2"}
        heard: dict[str, list[str]] = {}
        clients: dict[str, Any] = {}
        for name in ("ada", "bob", "cem", "dan"):
            login = await dev_login(command.url, name)
            client = clients[name] = await stack.enter_async_context(connect(command.url, login.token))
            texts = heard[name] = []

            async def note(event: MessageReceived, texts: list[str] = texts) -> None:
                if event.message.kind == "text":
                    texts.append(event.message.body["text"])

            client.on(MessageReceived, note)
        ids = [client.state.me.user for client in clients.values()]
        room = (await clients["ada"].group("all", ids[1:])).conversation

        said: list[str] = []
        enough = asyncio.Event()

        async def talk() -> None:
            while not enough.is_set():
                said.append(str(len(said)))
                await clients["ada"].submit(room, said[-1])

        talking = asyncio.create_task(talk())
        for name in ("gateway-1", "core"):
            before = len(heard["bob"])
            await until(lambda before=before: len(heard["bob"]) > before, 60, "something is said")
            await command.kill(name)
        enough.set()
        async with asyncio.timeout(60):
            await talking
        for name in ("bob", "cem", "dan"):
            await until(lambda name=name: len(heard[name]) >= len(said), 90, f"{name} has heard all")
            assert heard[name] == said, Counter(heard[name])
        async with httpx2.AsyncClient(base_url=command.url) as http:
            assert (await http.get("/readyz")).json()["ready"] is True
            assert (await http.get("/")).status_code == 200
            numbers = (await http.get("/metrics")).text
            for name in ("core", "gateway-1", "gateway-2"):
                assert f'node="{name}"' in numbers
            assert re.search(r'^chat_sessions\{node="gateway-2"\} \d', numbers, re.MULTILINE)
        command.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await command.process.wait() == 0
        pids = [pid for name in ("core", "gateway-1", "gateway-2") for pid in command.pids(name)]
        assert len(pids) == 5
        for pid in pids:  # Nobody was left behind.
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
