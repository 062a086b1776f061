"""Starting what is measured, and what measures: the server, the C baseline, the load generator."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
SERVER_CORE = 0
LOAD_CORE = 1
READY = re.compile(rb"http://([0-9.]+):([0-9]+)")


@frozen
class Running:
    """A server that accepts connections. `start` is the time from its exec to a finished TCP connect, in seconds,
    `start_cpu` the CPU that it has taken until then, of all its threads, in seconds."""

    name: str
    pid: int
    host: str
    port: int
    start: float
    start_cpu: float


def compile_programs() -> None:
    """Builds csend and load where their sources are newer."""
    BUILD.mkdir(exist_ok=True)
    headers = max(h.stat().st_mtime for h in HERE.glob("*.h"))
    for name in ("csend", "load"):
        source, target = HERE / f"{name}.c", BUILD / name
        if target.exists() and target.stat().st_mtime > max(source.stat().st_mtime, headers):
            continue
        compiler = shutil.which("cc") or shutil.which("gcc") or "cc"
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", target, source], check=True)


def emptied(folder: Path) -> Path:
    """The folder, made, with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _pinned(core: int) -> None:
    cores = os.sched_getaffinity(0)
    if core in cores:
        os.sched_setaffinity(0, {core})


@contextlib.contextmanager
def running(name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """The program, pinned to the server's core, from its line with http://HOST:PORT until the block ends."""
    began = time.perf_counter()
    log = (BUILD / f"{name}.log").open("ab")
    # As an installation has it: sources compiled once, and not anew at every start.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**kept, "PYTHONPYCACHEPREFIX": str(BUILD / "bytecode"), **(env or {})},
        preexec_fn=lambda: _pinned(SERVER_CORE),
    )
    try:
        assert process.stdout is not None
        seen = b""
        while not (found := READY.search(seen)) or b"\n" not in seen[found.start() :]:
            readable, _, _ = select.select([process.stdout], [], [], 60)
            piece = os.read(process.stdout.fileno(), 4096) if readable else b""
            if not piece:
                raise SystemExit(f"{name} did not start; its last words: {_tail(BUILD / f'{name}.log')}")
            seen += piece
        host, port = found[1].decode(), int(found[2])
        with socket.create_connection((host, port), timeout=10):
            start, start_cpu = time.perf_counter() - began, cpu_of(process.pid)
        # What else it prints goes nowhere, and must not fill the pipe.
        drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=log)
        try:
            yield Running(name, process.pid, host, port, start, start_cpu)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                print(f"{name} ignored SIGTERM for 15 s and was killed", file=sys.stderr)
                process.kill()
            drain.wait()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        log.close()


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has taken, with all its threads: `clock_getcpuclockid` of the C library."""
    return time.clock_gettime((~pid << 3) | 2)


def _tail(path: Path) -> str:
    return path.read_bytes()[-2000:].decode(errors="replace") if path.exists() else ""


def csend(*flags: str) -> contextlib.AbstractContextManager[Running]:
    """The baseline: one `send()` per delivery; `--joined 1` as a flag: the floor without that limit."""
    return running("csend", [BUILD / "csend", *flags])


def chat_server(
    data: Path, program: Path | None = None, env: Mapping[str, str] | None = None
) -> contextlib.AbstractContextManager[Running]:
    """The server under test in its embedded default, on a free port, with its store in `data`.

    `program`: another installation's `chat-server`.
    """
    program = program or Path(sys.executable).with_name("chat-server")
    command = [program, "--dev", "--port", "0", "--data", data]
    return running("chat-server", command, {**_unbounded(program), **(env or {})})


@functools.cache
def _unbounded(program: Path) -> Mapping[str, str]:
    """Crowds are put into groups unasked, and a user's points do not end, where the server under test (perhaps an older
    one) has such rules: what is measured is the server, and the generator would spend one user's points in a moment."""
    shown = subprocess.run([program, "config"], capture_output=True, text=True, check=True).stdout
    settings = {"CHAT__GROUPS__STRANGERS": "allow"} if "[groups]" in shown else {}
    return {**settings, "CHAT__LIMITS__POINTS": "0"} if "guest_points" in shown else settings


def mounted(data: Path, python: Path | None = None) -> contextlib.AbstractContextManager[Running]:
    """The server in a FastAPI host that knows nothing of our transport; `python`: another installation's."""
    return running("mounted", [python or Path(sys.executable), HERE / "mounted.py", data])


@contextlib.contextmanager
def abuser(server: Running, token: str, conversation: str) -> Iterator[None]:
    """`bench.abuser` at work against `server` until the block ends, pinned to the load's core."""
    words = [server.host, str(server.port), token, "abuser", conversation]
    with subprocess.Popen(
        [sys.executable, "-m", "bench.abuser", *words],
        stdout=subprocess.PIPE,
        cwd=HERE.parent,
        preexec_fn=lambda: _pinned(LOAD_CORE),
    ) as program:
        try:
            assert program.stdout is not None
            if not program.stdout.readline():
                raise SystemExit("the abuser did not begin")
            yield
        finally:
            program.kill()


def load(server: Running, scenario: str, tokens: Path, stacks: Path | None = None, **options: object) -> dict[str, Any]:
    """One run of the generator against `server`, pinned to the load's core; what it printed.

    `stacks`: where py-spy, if it is on the PATH, leaves the stacks of the window (the run is slower for it).
    """
    words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items() if value is not None]
    command = [
        str(BUILD / "load"),
        scenario,
        *(part for word in words for part in word.split("=", 1)),
        *("--host", server.host, "--port", str(server.port), "--tokens", str(tokens)),
        *("--server-pid", str(server.pid), "--core", str(LOAD_CORE)),
    ]
    errors: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as generator:
        assert generator.stdout is not None
        assert generator.stderr is not None
        for line in generator.stderr:
            errors.append(line)
            if stacks is not None and line.startswith("phase window"):
                _sample(server.pid, stacks, float(str(options.get("seconds", 8))))
        output = generator.stdout.read()
    if generator.returncode:
        raise SystemExit(f"{' '.join(command)}\n{''.join(errors)}\n{_tail(BUILD / f'{server.name}.log')}")
    result: dict[str, Any] = json.loads(output)
    result["server"] = server.name
    return result


def _sample(pid: int, stacks: Path, seconds: float) -> None:
    program = shutil.which("py-spy")
    if program is None:
        raise SystemExit("--profile needs py-spy on the PATH: uv tool install py-spy")
    rate, duration = "400", str(max(1, int(seconds) - 1))
    command = [program, "record", "-p", str(pid), "-r", rate, "-d", duration, "-f", "raw", "-o", str(stacks)]
    subprocess.Popen([*command, "--native"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
