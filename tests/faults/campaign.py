"""Many kill runs of rooms that turn hot and back, in parts: `nox -s campaign`.

    python -m tests.faults.campaign --seconds 220            # as many runs as fit, then write the report
    python -m tests.faults.campaign --late 0.06 --seeds 20   # answers come late; only the first 20 seeds

The plan is a list: so many different seeds, then one notorious seed so many times. What was run is kept line by line in
`docs/reports/hot-rooms.jsonl`, for one state of `packages/`: a part goes on where the last one ended, and other code
begins anew. The whole report of a run that found something, and its server's output, go to ``--keep``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.faults.run import KillRun, Plan, Report

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "docs" / "reports"
NOTORIOUS = 68944077
"""The seed whose run once lost a message, and did so again in two of forty repetitions."""
FIRST_SEED = 1000


@frozen
class Run:
    """One entry of the plan; ``number`` tells repetitions of one seed apart."""

    seed: int
    number: int
    late: float

    @property
    def name(self) -> str:
        return f"{self.seed}/{self.number}/{self.late:g}"


def planned(seeds: int, repeats: int, late: float | None) -> Iterator[Run]:
    """The whole plan. Without ``late`` every second run has answers that come up to 60 ms late."""
    entries = [(FIRST_SEED + n, 0) for n in range(seeds)] + [(NOTORIOUS, n) for n in range(repeats)]
    for place, (seed, number) in enumerate(entries):
        yield Run(seed, number, (0.0, 0.06)[place % 2] if late is None else late)


def code() -> str:
    """The state of `packages/` that is being judged: git's name of the committed tree, marked when it was changed."""
    tree = _git("rev-parse", "HEAD:packages")
    return tree[:12] + ("+changes" if _git("status", "--porcelain", "packages") else "")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def rows_of(path: Path, states: Collection[str]) -> list[dict[str, Any]]:
    """What was run on this code, in order; a torn last line is left out."""
    rows = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["code"] in states:
            rows.append(row)
    return rows


async def run(entry: Run, kills: int, keep: Path) -> dict[str, Any]:
    """One run and its row. What fails instead of ending is a finding, too."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        kill_run = KillRun(Plan(entry.seed, kills, hot_members=7, late=entry.late), Path(folder))
        try:
            report = await asyncio.wait_for(kill_run.go(), 120 + 45 * kills)
            told = [f"{finding.kind}: {finding.text}" for finding in report.findings]
        except Exception as error:
            report = Report(kill_run.plan, kill_run.ledger)
            told = [f"failed: {error!r}"]
        if told:
            _keep(keep, entry, f"{report}\n\n" + "\n".join(told), "".join(kill_run.server.output))
    ledger, hit = report.ledger, report.windows
    return {
        "name": entry.name,
        "seed": entry.seed,
        "late": entry.late,
        "kills": len(ledger.killed),
        "sent": len(ledger.sent),
        "told": len(ledger.heard),
        "gaps": len(ledger.repaired),
        "windows": [hit.commit_receipt, hit.push_ack, hit.resumed, hit.resume_refused],
        "seconds": round(time.monotonic() - began, 1),
        "load": round(os.getloadavg()[0], 1),
        "at": time.strftime("%Y-%m-%d %H:%M"),
        "commit": _git("rev-parse", "--short=9", "HEAD"),
        "findings": [text[:300] for text in told[:10]],
    }


def _keep(folder: Path, entry: Run, text: str, output: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = entry.name.replace("/", "-")
    (folder / f"{name}.txt").write_text(text, "utf-8")
    (folder / f"{name}.server.txt").write_text(output, "utf-8")


def _runs_of(state: str, rows: list[dict[str, Any]]) -> str:
    mine = [row for row in rows if row["code"] == state]
    commits = ", ".join(sorted({row["commit"] for row in mine})) or "none"
    return f"`{state}`: {len(mine)} runs, commits {commits}"


def report_of(rows: list[dict[str, Any]], plan: list[Run], states: Collection[str]) -> str:
    """The page that says what was run and what was found."""
    done = {row["name"] for row in rows}
    bad = [row for row in rows if row["findings"]]
    lines = [
        "# Rooms that turn hot and back, killed again and again",
        "",
        "Written by `nox -s campaign`: the kill run of `tests/faults`, its groups around the size from which they are",
        "hot. In half of the runs what the server's rooms answer one another comes up to 60 ms late",
        "(`tests/support/lateness.py`).",
        "",
        f"Python {platform.python_version()}, {os.cpu_count()} cores, other work on the machine (load up to"
        f" {max((row['load'] for row in rows), default=0)}). Code under test, by the tree of `packages/`:",
        "",
        *(f"- {_runs_of(state, rows)}" for state in states),
        "",
        "| runs | planned | done | with findings | kills | messages | told to clients | gaps closed by `history` |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for title, of in (("different seeds", lambda seed: seed != NOTORIOUS), (f"seed {NOTORIOUS}", NOTORIOUS.__eq__)):
        for late in sorted({entry.late for entry in plan}):
            mine = [row for row in rows if of(row["seed"]) and row["late"] == late]
            total = {key: sum(row[key] for row in mine) for key in ("kills", "sent", "told", "gaps")}
            wanted = sum(of(entry.seed) and entry.late == late for entry in plan)
            how = f", answers up to {late * 1000:.0f} ms late" if late else ""
            lines.append(
                f"| {title}{how} | {wanted} | {len(mine)} | {sum(bool(row['findings']) for row in mine)} |"
                f" {total['kills']:,} | {total['sent']:,} | {total['told']:,} | {total['gaps']} |"
            )
    left = sum(entry.name not in done for entry in plan)
    lines += ["", f"{left} planned runs were not made." if left else "All planned runs were made."]
    if bad:
        lines += ["", "## Findings", ""]
        lines += [f"- {row['name']} ({row['at']}): {'; '.join(row['findings'][:3])}" for row in bad]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200, help="different seeds")
    parser.add_argument("--repeats", type=int, default=40, help=f"runs of seed {NOTORIOUS}")
    parser.add_argument("--kills", type=int, default=10, help="kills a run")
    parser.add_argument(
        "--late", type=float, help="longest delay of answers in all runs; default: 0.06 in every second one"
    )
    parser.add_argument("--share", default="1/1", help="2/3: the second third of the plan, for processes side by side")
    parser.add_argument("--also", nargs="*", default=[], help="trees of `packages/` whose runs count as done as well")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no run after so many seconds")
    parser.add_argument("--reports", type=Path, default=REPORTS, help="where hot-rooms.jsonl and hot-rooms.md are")
    parser.add_argument(
        "--keep", type=Path, default=ROOT / "tests" / "faults" / "found", help="where findings are kept"
    )
    options = parser.parse_args()
    logging.getLogger("chat_common").setLevel(logging.ERROR)  # that a killed server is away is no news here
    options.reports.mkdir(parents=True, exist_ok=True)
    journal, state = options.reports / "hot-rooms.jsonl", code()
    states = [*options.also, state]
    plan = list(planned(options.seeds, options.repeats, options.late))
    done = {row["name"] for row in rows_of(journal, states)}
    # Every second of what is left comes from the end, so that a part has seen both the seeds and the notorious one.
    mine, of = map(int, options.share.split("/"))
    left = [entry for place, entry in enumerate(plan) if entry.name not in done and place // 2 % of == mine - 1]
    ends = time.monotonic() + options.seconds
    while left and time.monotonic() < ends:
        entry = left.pop(0 if len(left) % 2 else -1)
        row = {"code": state, **asyncio.run(run(entry, options.kills, options.keep))}
        with journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        verdict = "; ".join(row["findings"]) or "nothing found"
        print(f"{entry.name}: {row['kills']} kills, {row['seconds']} s: {verdict}", flush=True)
    rows = rows_of(journal, states)
    (options.reports / "hot-rooms.md").write_text(report_of(rows, plan, states), "utf-8")
    print(f"{len(rows)} of {len(plan)} runs, {sum(bool(row['findings']) for row in rows)} with findings")
    return 1 if any(row["findings"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
