"""The server with meters that ask no clock on the wall: what stood before each user's changes in the writer, counted in
changes of others, and what each turn of the event loop cost, in CPU time of its thread.

    python -m tests.hostile.metered REPORT [words of chat-server]

The report is written when the server has ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio import events
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, define, field
from chat_common.codec.json import JsonCodec
from chat_server.cli import main
from chat_server.store.writer import Job, Writer

LONG = 0.001
"""Seconds of CPU from which a turn is noted."""


@define
class Report:
    """``ahead``: user → for each change, how many of the one other user who had most of them ran from its coming to its
    end. ``turns``: the long turns, each the monotonic time of its end, CPU seconds, and what it was. ``reference``: CPU
    seconds for judging one honest frame as large as a client's may be.
    """

    ahead: dict[str, list[int]] = field(factory=dict)
    turns: list[tuple[float, float, str]] = field(factory=list)
    reference: float = 0.0


def meter_writer(report: Report) -> None:
    done: Counter[str] = Counter()
    before: dict[asyncio.Future[Any], Counter[str]] = {}
    put, one = Writer.put, Writer._one

    def noting_put(self: Writer, apply: Any, item: Any, by: str) -> asyncio.Future[Any]:
        future = put(self, apply, item, by)
        before[future] = Counter(done)
        return future

    async def noting_one(self: Writer, jobs: Sequence[Job]) -> Sequence[Job]:
        later = await one(self, jobs)
        ended = [job for job in jobs if job not in later]
        done.update(job.by for job in ended)
        for job in ended:
            then = before.pop(job.future)
            others = [number - then[user] for user, number in done.items() if user and user != job.by]
            report.ahead.setdefault(job.by, []).append(max(others, default=0))
        return later

    Writer.put, Writer._one = noting_put, noting_one  # type: ignore[method-assign]


def meter_loop(report: Report) -> None:
    run, now = events.Handle._run, time.thread_time  # type: ignore[attr-defined]

    def noting_run(self: Any) -> None:
        began = now()
        run(self)
        if (cost := now() - began) >= LONG:
            report.turns.append((time.monotonic(), cost, _said(self)))

    events.Handle._run = noting_run  # type: ignore[attr-defined]


def _said(handle: Any) -> str:
    """Whose turn it was: of a read, which protocol took it."""
    protocol = getattr(getattr(handle._callback, "__self__", None), "_protocol", None)
    return type(protocol).__name__ if protocol is not None else repr(handle)[:200]


def reference() -> float:
    codec = JsonCodec()
    frame = {"op": "call", "ref": "r", "command": "submit", "params": {"n": list(range(11_000))}}
    encoded = codec.encode(frame)
    costs = []
    for _ in range(20):
        began = time.thread_time()
        codec.client_frames(encoded)
        costs.append(time.thread_time() - began)
    return min(costs)


if __name__ == "__main__":
    path, words = Path(sys.argv[1]), sys.argv[2:]
    report = Report()
    report.reference = reference()
    meter_writer(report)
    meter_loop(report)
    try:
        main(words)
    finally:
        path.write_text(json.dumps(asdict(report)))
