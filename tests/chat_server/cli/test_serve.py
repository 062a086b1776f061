from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from chat_server.cli import main
from click.testing import CliRunner
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support.frames import frames
from tests.support.waiting import until


@asynccontextmanager
async def running(
    data: Path,
    *words: str,
    program: str = "from chat_server.cli import main; main()",
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`chat-server` as a process of its own, and its address."""
    command = ["-c", program, "--dev", "--port", "0", "--data", str(data), *words]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environ or {})},
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
        found = re.search(r"http://\S+", line)
        assert found is not None, (line, (await process.communicate())[1].decode())
        yield process, found[0]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def log_in(client: httpx2.AsyncClient, name: str) -> str:
    answer = await client.post("/api/auth.dev", json={"name": name})
    token: str = answer.json()["token"]
    return token


async def test_it_runs_says_where_and_drains(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, url), httpx2.AsyncClient(base_url=url) as client:
        assert (await client.get("/readyz")).json()["ready"] is True
        assert (await client.get("/")).status_code == 200
        token = await log_in(client, "anna")
        me = await client.post("/api/user.me", headers={"authorization": f"Bearer {token}"})
        assert me.json()["name"] == "anna"
        async with connect(url.replace("http", "ws") + "/ws") as socket:
            await socket.send(json.dumps({"op": "hello", "token": token, "device": {"id": "d", "platform": "test"}}))
            assert (await frames(socket, 30))[0]["op"] == "welcome"
            process.send_signal(signal.SIGTERM)
            heard: list[dict[str, Any]] = []
            with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - it is read to its end
                async with asyncio.timeout(30):
                    while True:
                        heard += await frames(socket, 30)
            assert heard[-1]["op"] == "bye"
            assert (heard[-1]["code"], heard[-1]["reconnect"]) == (4000, "resume")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4000
        async with asyncio.timeout(30):
            assert await process.wait() == 0
        assert process.stderr is not None
        logged = (await process.stderr.read()).decode()
        assert '"event": "stopped"' in logged
        assert token not in logged


async def test_a_second_server_on_the_same_port_or_data_says_so(tmp_path: Path) -> None:
    async def refused(port: int) -> str:
        words = ["--port", str(port), "--data", str(tmp_path)]
        result = await asyncio.to_thread(CliRunner().invoke, main, words)
        assert result.exit_code == 1
        return result.output

    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert f"Port {port} on 127.0.0.1 is in use: choose another with --port" in await refused(port)
    async with running(tmp_path):
        assert "Another chat-server is using the data folder" in await refused(0)


async def test_backup_while_it_runs_and_restore_when_it_is_stopped(tmp_path: Path) -> None:
    async def chat_server(*words: str) -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, main, [*words, "--data", str(tmp_path / "data")])
        return result.exit_code, result.output

    copy = tmp_path / "copy.db"
    async with running(tmp_path / "data") as (process, url), httpx2.AsyncClient(base_url=url) as client:
        await log_in(client, "anna")
        assert (await chat_server("backup", str(copy)))[0] == 0
        code, output = await chat_server("backup", str(copy))
        assert (code, "overwrites nothing" in output) == (1, True)
        code, output = await chat_server("restore", str(copy))
        assert (code, "Another chat-server" in output) == (1, True)
        await log_in(client, "bert")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await process.wait()
    before = epoch_of(copy)
    code, output = await chat_server("restore", str(copy))
    assert code == 0, output
    restored = epoch_of(tmp_path / "data" / "chat.db")
    assert restored != before
    assert restored in output
    code, output = await chat_server("epoch", "new")
    assert epoch_of(tmp_path / "data" / "chat.db") not in (restored, before)


def epoch_of(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        found: str = connection.execute("SELECT value FROM chat_meta WHERE key = 'epoch'").fetchone()[0]
    return found


async def test_the_standard_loop_serves_too(tmp_path: Path) -> None:
    toml = tmp_path / "chat.toml"
    toml.write_text('[http]\nloop = "asyncio"\n')
    async with running(tmp_path / "data", "--config", str(toml)) as (process, url):
        async with httpx2.AsyncClient(base_url=url) as client:
            assert (await client.get("/healthz")).status_code == 200
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            assert await process.wait() == 0


async def test_a_crowd_of_silent_connections_ends_by_itself(tmp_path: Path) -> None:
    """More of them than the process may open files; it says so in one line, and serves again when they are over."""
    quick = ["from chat_server.cli import main", "import resource"]
    quick += ["resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))", "main()"]
    environ = {"CHAT__CONNECTIONS__HEAD_TIMEOUT": "2"}
    async with running(tmp_path, program="; ".join(quick), environ=environ) as (process, url):
        port = int(url.rpartition(":")[2])
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
        answers = await asyncio.gather(*(reader.read() for reader, _ in crowd[100:]), return_exceptions=True)
        assert any(isinstance(answer, bytes) and answer.startswith(b"HTTP/1.1 503") for answer in answers)

        async def serves() -> bool:
            try:
                async with httpx2.AsyncClient(base_url=url) as client:
                    return (await client.get("/healthz")).status_code == 200
            except httpx2.HTTPError:
                return False

        await until(serves)
        for _, writer in crowd:
            writer.close()
        process.send_signal(signal.SIGTERM)
        _, logged = await process.communicate()
        refused = [json.loads(line) for line in logged.decode().splitlines() if '"refused"' in line]
        assert [(line["reason"], line["most"]) for line in refused if line["reason"] == "connections"] == [
            ("connections", 128)
        ]
        assert len(logged) < 10_000
