"""kill -9 under load: 0 lost, 0 doubled, 0 out of order, nothing outside an interval, every receipt honoured."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.faults.run import KillRun, Plan

KILLS = int(os.environ.get("CHAT_FAULT_KILLS", "25"))
SEED = int(os.environ.get("CHAT_FAULT_SEED", "0")) or secrets.randbelow(2**31)


@pytest.mark.time_limit(120 + 45 * KILLS)
@pytest.mark.parametrize("hot_members", [500, 7], ids=["normal rooms", "rooms that turn hot and back"])
async def test_nothing_is_lost_whatever_is_killed(tmp_path: Path, hot_members: int) -> None:
    kills = KILLS if hot_members > 100 else max(5, KILLS // 5)
    report = await KillRun(Plan(SEED, kills, hot_members=hot_members), tmp_path).go()
    print(report)
    assert report.findings == [], str(report)
    assert report.windows.all_hit, f"no fault hit a window, so this run proves nothing\n{report}"
