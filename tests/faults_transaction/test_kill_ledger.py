"""Producers, relays and consumers killed at random, the broker emptied and stopped: every committed effect happens
exactly once per group and in order per key.

``CHAT_FAULTS_MESSAGES`` sets the number of messages (100,000 for the long run), ``CHAT_FAULTS_SEED`` the seed.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chat_transaction.rocketmq_broker import RocketBroker
from chat_transaction.settings import RocketBrokerSettings

from tests.faults_transaction.ledger import Company, Node, read_ledger
from tests.faults_transaction.node import Plan, create_tables
from tests.services.postgresql import asyncpg_url, fresh_database, psycopg_url, running_postgresql
from tests.services.redis import Redis
from tests.services.rocketmq import RocketMQ

MESSAGES = int(os.environ.get("CHAT_FAULTS_MESSAGES", "4000"))
KEYS = 1_000 if MESSAGES >= 100_000 else 100
GROUPS = ("books", "mail")
PACE = 3 if MESSAGES >= 100_000 else 1
"""Between two kills enough must happen for the next one to hit something."""


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    # Durable: what is committed must survive, so nothing is switched off.
    with running_postgresql() as server:
        yield server.address


@pytest.fixture
def database(postgresql: str) -> Iterator[str]:
    with fresh_database(postgresql) as address:
        create_tables(psycopg_url(address))
        yield address


def run(
    database: str, broker: str, endpoint: str, folder: Path, disturb: Callable[[random.Random], str | None]
) -> None:
    """Everything at once, then quiet, then the books are compared."""
    seed = int(os.environ.get("CHAT_FAULTS_SEED", secrets.randbelow(2**32)))
    chance = random.Random(seed)
    started = time.monotonic()
    events: list[str] = []
    with Company(database) as company:
        producers: list[Node] = []
        for number in range(2):
            keys = (number * KEYS // 2, (number + 1) * KEYS // 2)
            plan = Plan(asyncpg_url(database), f"producer-{number}", keys=keys, messages=MESSAGES // KEYS)
            producers.append(company.add("producer", plan, folder / f"producer-{number}.log"))
        for number in range(3):
            plan = Plan(asyncpg_url(database), f"relay-{number}", broker, endpoint, groups=GROUPS)
            company.add("relay", plan, folder / f"relay-{number}.log")
        wanted = MESSAGES * len(GROUPS)
        while company.count("applied") < wanted * 3 // 4:
            time.sleep(chance.uniform(0.5, 2.0) * PACE)
            # Only who is at work is killed: to kill who is starting proves nothing, and none would ever work.
            for node in company.nodes:
                if node.ended and not node.finished:
                    node.start()
            working = [node for node in company.nodes if node.at_work]
            if len(working) < 3:
                continue
            chance.choice(working).kill()
            if happened := disturb(chance):
                events.append(happened)
        for producer in producers:
            if producer.ended and not producer.finished:
                producer.start()
        company.until(lambda: all(producer.finished for producer in producers), 600, "all is committed")
        company.until(lambda: company.count("applied") >= wanted, 600, "all is applied")
        company.until(lambda: company.count("chat_outbox") == 0, 120, "the outbox is empty")
        kills = {node.plan.name: node.kills for node in company.nodes}
    ledger = read_ledger(database, GROUPS)
    faults = ledger.faults()
    print(
        f"\n{broker}: seed {seed}, {len(ledger.said)} messages over {KEYS} keys, {len(GROUPS)} groups, "
        f"{time.monotonic() - started:.0f} s, kills {kills}, {len(events)} broker faults {events}, {len(faults)} faults"
    )
    assert len(ledger.said) == MESSAGES // KEYS * KEYS
    assert sum(kills.values()) > 0, "no process was killed: the run proves nothing"
    assert not faults, "\n".join(faults[:20])


def test_on_redis(database: str, tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis")
    server.start()

    def disturb(chance: random.Random) -> str | None:
        if chance.random() < 0.3:
            server.kill()
            time.sleep(chance.uniform(0, 1))
            server.start()
            return "restarted empty"
        return None

    try:
        run(database, "redis", server.url, tmp_path, disturb)
    finally:
        server.kill()


def test_on_rocketmq(database: str, tmp_path: Path) -> None:
    server = RocketMQ(tmp_path / "rocketmq")
    try:
        server.start()
        settings = RocketBrokerSettings(queues=4)
        server.create(RocketBroker.topics(["sold"], settings), RocketBroker.groups(GROUPS, settings))
        wiped: list[bool] = []

        def disturb(chance: random.Random) -> str | None:
            if chance.random() < 0.1:
                server.kill_broker()
                if not wiped:
                    wiped.append(True)
                    server.wipe()
                server.start_broker()
                return "killed and wiped" if len(wiped) == 1 else "killed"
            return None

        run(database, "rocketmq", server.endpoint, tmp_path, disturb)
    finally:
        server.stop()


def test_without_a_broker_between(database: str, tmp_path: Path) -> None:
    run(database, "memory", "", tmp_path, lambda chance: None)
