"""The bars of the design, the rows of a run, and the table."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from attrs import field, frozen


@frozen
class Row:
    """One line of the table. `met` is None where a figure is given without a bar; `figures` can be compared."""

    what: str
    measured: str
    bar: str = ""
    met: bool | None = None
    figures: dict[str, float] = field(factory=dict)


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    mark = {True: "yes", False: "**no**", None: ""}
    lines = ["| what | measured | bar | met |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.measured} | {row.bar} | {mark[row.met]} |" for row in rows]
    return "\n".join(lines)


def middle(results: Sequence[dict[str, Any]], *path: str) -> float:
    """The median over runs of one figure."""
    figures = []
    for result in results:
        value: Any = result
        for key in path:
            value = value[key]
        figures.append(float(value))
    return median(figures)


def faults(results: Sequence[dict[str, Any]], *, gaps: bool = False) -> str:
    """What the generator found wrong in these runs; empty: nothing. ``gaps``: a jump in `rev` is no fault here, as
    clients that have yet to sync must see some."""
    found: dict[str, int] = {}
    for result in results:
        watched = {**result.get("defects", {}), "lagged": result["tally"]["lagged"], "gaps": result["tally"]["gaps"]}
        for name, count in watched.items():
            if name == "gaps" and gaps:
                continue
            found[name] = found.get(name, 0) + count
    return ", ".join(f"{name} {count}" for name, count in found.items() if count)


def caption(where: dict[str, Any], commit: str, against: str = "") -> str:
    """Commit, date and machine of a table, and how busy the machine was besides."""
    return (
        f"Commit {commit}{f' against {against}' if against else ''}, {time.strftime('%Y-%m-%d %H:%M')}, {where['cpu']},"
        f" {where['cores']} cores, Linux {where['kernel']}, Python {where['python']}, fsync {where['fsync_ms']} ms,"
        f" load {os.getloadavg()[1]:.1f} over the last five minutes (idle: about 1)."
    )


def machine(folder: Path) -> dict[str, Any]:
    """Where this ran; `fsync_ms` is what a commit has to wait for in that folder."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    times = []
    probe = folder / "fsync-probe"
    with probe.open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    probe.unlink()
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "fsync_ms": round(median(times), 3),
    }
