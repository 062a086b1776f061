"""kill -9 under load: 0 lost, 0 doubled, 0 out of order, nothing outside an interval, every receipt honoured."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from tests.faults.run import KillRun, Plan

KILLS = int(os.environ.get("CHAT_FAULT_KILLS", "15"))
SEED = int(os.environ.get("CHAT_FAULT_SEED", "0")) or secrets.randbelow(2**31)


async def test_nothing_is_lost_whatever_is_killed(tmp_path: Path) -> None:
    report = await KillRun(Plan(SEED, KILLS), tmp_path).go()
    print(report)
    assert report.findings == [], str(report)
    assert report.windows.all_hit, f"no fault hit a window, so this run proves nothing\n{report}"
