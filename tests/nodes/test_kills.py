"""N1: any of three nodes is killed under load, people come back at any other: the ledger finds nothing."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

from tests.faults.run import Plan
from tests.nodes.cluster import Cluster
from tests.nodes.processes import shared_settings
from tests.nodes.run import NodesRun
from tests.services.postgresql import asyncpg_url

KILLS = int(os.environ.get("CHAT_FAULT_KILLS_NODES", "2"))
SEED = int(os.environ.get("CHAT_FAULT_SEED", "0")) or secrets.randbelow(2**31)


async def test_nothing_is_lost_when_nodes_are_killed_and_people_come_back_at_others(
    cluster: Cluster, tmp_path: Path
) -> None:
    settings = shared_settings(asyncpg_url(cluster.store.url), cluster.redis)
    run = NodesRun(Plan(SEED, KILLS, people=12, hot_members=7, patience=60.0), tmp_path, settings)
    async with asyncio.timeout(240 + 60 * KILLS):
        report = await run.go()
    print(report)
    print(run.waits())
    assert report.findings == [], str(report)
    assert len(report.ledger.killed) >= KILLS
