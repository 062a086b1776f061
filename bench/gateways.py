"""A room of connected members, served by one process and by `--gateways N`: the CPU of each process a delivery.

python -m bench.gateways [MEMBERS] [GATEWAYS] [SECONDS] [MESSAGES_IN_FLIGHT] [ROUNDS]

Not pinned to cores: the figures are CPU, not time. Both shapes run one after the other on one store.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import crowd, process
from bench.process import BUILD, Running, chat_server, compile_programs, cpu_of, emptied, running


def processes_of(server: Running) -> dict[str, int]:
    """The processes of a server, by what each is for."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    names = ["rooms", *(f"gateway {number}" for number in range(1, len(children)))]
    return dict(zip(names, map(int, children), strict=False)) if children else {"all": server.pid}


@contextmanager
def gateways(data: Path, number: int) -> Iterator[Running]:
    """`chat-server --gateways`."""
    program = Path(sys.executable).with_name("chat-server")
    words = [program, "--dev", "--port", "0", "--data", data, "--gateways", str(number)]
    with running("gateways", words, process._unbounded(program)) as server:
        yield server


def measured(server: Running, tokens: Path, seconds: int, inflight: int) -> dict[str, Any]:
    """CPU µs a delivery of each process, in the generator's window."""
    pids = processes_of(server)
    words = [BUILD / "load", "room", "--inflight", str(inflight), "--seconds", str(seconds), "--tokens", tokens]
    words += ["--host", server.host, "--port", str(server.port), "--server-pid", str(server.pid)]
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        assert load.stderr is not None
        for line in load.stderr:
            if line.startswith("phase window"):
                before = {name: cpu_of(pid) for name, pid in pids.items()}
            elif before and not after and line.startswith("phase"):
                after = {name: cpu_of(pid) for name, pid in pids.items()}
        result: dict[str, Any] = json.loads(load.stdout.read())
    after = after or {name: cpu_of(pid) for name, pid in pids.items()}
    deliveries = result["window"]["deliveries"]
    each = {name: round((after[name] - before[name]) / deliveries * 1e6, 2) for name in pids}
    return {
        "us_cpu_a_delivery": each,
        "in_all": round(sum(each.values()), 2),
        "deliveries": deliveries,
        "deliveries_per_second": round(result["window"]["deliveries_per_second"]),
        "lost": {key: result[key] for key in ("gaps", "missing", "duplicates") if key in result},
    }


def main(members: int = 1_000, number: int = 2, seconds: int = 8, inflight: int = 8, rounds: int = 2) -> None:
    """Print both shapes as JSON."""
    compile_programs()
    data = emptied(BUILD / "data-gateways")
    with chat_server(data) as server:
        api = crowd.Api(server)
        users = crowd.users(api, members)
        conversation = crowd.room(api, users)
    tokens = crowd.write_tokens(data / "tokens", [(user, conversation) for user in users])
    for name in ("one process", f"--gateways {number}") * rounds:
        with chat_server(data) if name == "one process" else gateways(data, number) as server:
            found = measured(server, tokens, seconds, inflight)
            print(json.dumps({"shape": name, "members": members, "in_flight": inflight, **found}), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
