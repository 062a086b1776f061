"""The same kill run where the server stands on PostgreSQL and on a broker, which are killed and emptied too."""

from __future__ import annotations

import json
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.run import KillRun, Plan
from tests.services.postgresql import PostgreSQL, asyncpg_url, fresh_database, running_postgresql
from tests.services.redis import Redis
from tests.services.rocketmq import RocketMQ

KILLS = int(os.environ.get("CHAT_FAULT_KILLS_SCALED", "8"))
SEED = int(os.environ.get("CHAT_FAULT_SEED", "0")) or secrets.randbelow(2**31)

CONFIG = """
[ports]
database = "postgresql"
broker = "{broker}"

[database.postgresql]
url = "{url}"

[broker.{broker}]
{settings}
"""


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    with running_postgresql() as server:
        yield server


@pytest.fixture
def database(postgresql: PostgreSQL) -> Iterator[str]:
    with fresh_database(postgresql.address) as address:
        yield asyncpg_url(address)


def _command(folder: Path, config: str, *words: str) -> str:
    """What an operator's `chat-server` prints with this configuration."""
    path = folder / "operator.toml"
    path.write_text(config)
    program = Path(sys.executable).with_name("chat-server")
    done = subprocess.run([program, "--config", path, *words], check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


async def _run(folder: Path, plan: Plan) -> None:
    _command(folder, plan.config, "migrate")
    report = await KillRun(plan, folder).go()
    print(report)
    assert report.findings == [], str(report)
    assert report.windows.all_hit, f"no fault hit a window, so this run proves nothing\n{report}"


@pytest.mark.time_limit(240 + 60 * KILLS)
async def test_on_postgresql_and_redis(database: str, postgresql: PostgreSQL, tmp_path: Path) -> None:
    redis = Redis(tmp_path / "redis")
    redis.start()

    def disturb(dice: random.Random) -> str | None:
        chance = dice.random()
        if chance < 0.4:
            redis.kill()
            time.sleep(dice.uniform(0, 0.5))
            redis.start()
            return "Redis emptied"
        if chance < 0.6:
            postgresql.crash()
            postgresql.start()
            return "PostgreSQL crashed"
        return None

    config = CONFIG.format(broker="redis", url=database, settings=f'url = "{redis.url}"\nlease = 1.0')
    try:
        await _run(tmp_path, Plan(SEED, KILLS, config=config, disturb=disturb))
    finally:
        redis.kill()


@pytest.mark.time_limit(300 + 60 * KILLS)
async def test_on_postgresql_and_rocketmq(database: str, tmp_path: Path) -> None:
    rocketmq = RocketMQ(tmp_path / "rocketmq")
    wiped: list[bool] = []

    def disturb(dice: random.Random) -> str | None:
        if dice.random() < 0.25:
            rocketmq.kill_broker()
            if not wiped:
                wiped.append(True)
                rocketmq.wipe()
            rocketmq.start_broker()
            return "broker killed" if len(wiped) > 1 else "broker killed, its messages deleted"
        return None

    try:
        rocketmq.start()
        settings = f'endpoints = "{rocketmq.endpoint}"\nqueues = 4'
        config = CONFIG.format(broker="rocketmq", url=database, settings=settings)
        config += "\n[items]\nenabled = true\n"  # On with --dev; it needs a topic and a group.
        topics, groups = (json.loads(_command(tmp_path, config, "rocketmq", what)) for what in ("topics", "groups"))
        rocketmq.create(topics, groups)
        # What a killed consumer had in hand stays its own until the broker takes it for lost.
        await _run(tmp_path, Plan(SEED, KILLS, patience=180, config=config, disturb=disturb))
    finally:
        rocketmq.stop()
