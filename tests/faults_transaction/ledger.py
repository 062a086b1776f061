"""What was committed against what was applied: exactly once per group, in order per key. And the processes to kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import psycopg
from attrs import define, field

from tests.faults_transaction.node import Plan


@define
class Ledger:
    """Rows as (key, number); per group the effects in the order of their application."""

    said: Sequence[tuple[str, int]]
    applied: Mapping[str, Sequence[tuple[str, int]]]

    def faults(self) -> list[str]:
        """Every loss, double, inversion and invention, a line each."""
        found: list[str] = []
        wanted: dict[str, list[int]] = {}
        for key, number in sorted(self.said):
            wanted.setdefault(key, []).append(number)
        for group, effects in self.applied.items():
            got: dict[str, list[int]] = {}
            for key, number in effects:
                got.setdefault(key, []).append(number)
            for key in sorted(wanted.keys() | got.keys()):
                should, did = wanted.get(key, []), got.get(key, [])
                if did == should:
                    continue
                lost, invented = sorted(set(should) - set(did)), sorted(set(did) - set(should))
                doubled = sorted({number for number in did if did.count(number) > 1})
                order = [number for number in did if number in should]
                parts = [("lost", lost), ("doubled", doubled), ("never committed", invented)]
                found += [f"{group} {key}: {what} {which}" for what, which in parts if which]
                if not (lost or doubled or invented) or order != sorted(order):
                    found.append(f"{group} {key}: out of order")
        return found


def read_ledger(address: str, groups: Iterable[str]) -> Ledger:
    with psycopg.connect(address) as connection:
        said = connection.execute("SELECT key, number FROM said").fetchall()
        applied = {
            group: connection.execute(
                'SELECT key, number FROM applied WHERE "group" = %s ORDER BY id', [group]
            ).fetchall()
            for group in groups
        }
    return Ledger(said, applied)


@define
class Node:
    """One process, by its role and plan; may be started again."""

    role: str
    plan: Plan
    log: Path
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0
    seen: int = 0

    def start(self) -> None:
        text = json.dumps(attrs.asdict(self.plan))
        self.seen = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults_transaction.node", self.role, text],
                cwd=Path(__file__).parents[2],
                stdout=output,
                stderr=output,
            )

    @property
    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    @property
    def finished(self) -> bool:
        return self.process is not None and self.process.poll() == 0

    @property
    def at_work(self) -> bool:
        """It has said so since it was started last."""
        return not self.ended and b"ready" in self.log.read_bytes()[self.seen :]

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
            self.kills += 1

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(30)


@define
class Company:
    """All nodes of a run; leaving it ends them."""

    address: str
    nodes: list[Node] = field(factory=list)

    def __enter__(self) -> Company:
        return self

    def __exit__(self, *_: Any) -> None:
        for node in self.nodes:
            node.stop()

    def add(self, role: str, plan: Plan, log: Path) -> Node:
        node = Node(role, plan, log)
        node.start()
        self.nodes.append(node)
        return node

    def count(self, table: str) -> int:
        with psycopg.connect(self.address) as connection:
            found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # type: ignore[index]
            return found

    def until(self, condition: Callable[[], bool], patience: float, what: str) -> None:
        """Ask until it holds, restarting relays that ended by themselves (a broker that was down at their start)."""
        deadline = time.monotonic() + patience
        while not condition():
            for node in self.nodes:
                if node.role == "relay" and node.ended:
                    node.start()
            if time.monotonic() > deadline:
                logs = "\n".join(f"{node.log.name}: {node.log.read_text()[-1500:]}" for node in self.nodes)
                raise AssertionError(f"not within {patience} s: {what}\n{logs}")
            time.sleep(0.2)
