"""Producers, relays and consumers killed at random, the broker emptied and stopped: every committed effect happens
exactly once per group and in order per key.

A run in which a kind of fault did not happen proves nothing, and fails. ``CHAT_FAULTS_MESSAGES`` sets the number of
messages (100,000 for the long run), ``CHAT_FAULTS_SEED`` the seed.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chat_transaction.brokers.rocketmq import RocketBroker
from chat_transaction.settings import RocketBrokerSettings

from tests.faults_transaction.ledger import Company, Node, read_ledger
from tests.faults_transaction.node import Plan, create_tables
from tests.services.postgresql import asyncpg_url, fresh_database, psycopg_url, running_postgresql
from tests.services.redis import Redis
from tests.services.rocketmq import RocketMQ

MESSAGES = int(os.environ.get("CHAT_FAULTS_MESSAGES", "4000"))
KEYS = 1_000 if MESSAGES >= 100_000 else 100
GROUPS = ("books", "mail")
ROLES = ("producer", "relay")
PACE = 3 if MESSAGES >= 100_000 else 1
"""Between two kills enough must happen for the next one to hit something."""
COMMIT_PACE = 0.0 if MESSAGES >= 100_000 else 0.1
"""The few rows of a short run must not all be written before the first kill."""
ROUNDS = 4
"""Kills at least, every other one of a producer."""
STEPS = 15 if MESSAGES >= 100_000 else 40
"""In so many parts the effects are counted: after a kill one more part must be applied before the next, so that a
broker that is slow to give a dead relay's work to another is not hit faster than anything can happen."""


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
    database: str, broker: str, endpoint: str, folder: Path, disturb: Callable[[random.Random, int], str | None]
) -> Counter[str]:
    """Everything at once, then quiet, then the books are compared; how often each kind of broker fault happened.

    ``disturb(chance, round)`` is called after each kill.
    """
    seed = int(os.environ.get("CHAT_FAULTS_SEED", secrets.randbelow(2**32)))
    chance = random.Random(seed)
    started = time.monotonic()
    events: Counter[str] = Counter()
    rounds = 0
    with Company(database) as company:
        for number in range(3):
            plan = Plan(asyncpg_url(database), f"relay-{number}", broker, endpoint, groups=GROUPS)
            company.add("relay", plan, folder / f"relay-{number}.log")
        # Behind a slow broker all would be written before the first relay is there, and no producer left to be killed.
        company.until(lambda: all(node.at_work for node in company.nodes), 120, "every relay is at work")
        producers: list[Node] = []
        for number in range(2):
            keys = (number * KEYS // 2, (number + 1) * KEYS // 2)
            plan = Plan(
                asyncpg_url(database), f"producer-{number}", keys=keys, messages=MESSAGES // KEYS, pace=COMMIT_PACE
            )
            producers.append(company.add("producer", plan, folder / f"producer-{number}.log"))
        wanted = MESSAGES * len(GROUPS)
        due = 0
        while rounds < ROUNDS or company.count("applied") < wanted * 3 // 4:
            time.sleep(chance.uniform(0.5, 2.0) * PACE)
            # Only who is at work is killed: to kill who is starting proves nothing, and none would ever work.
            for node in company.nodes:
                if node.ended and not node.finished:
                    node.start()
            company.until(lambda: company.count("applied") >= min(due, wanted), 600, "something is applied")  # noqa: B023
            working = [node for node in company.nodes if node.at_work]
            if len(working) < 3:
                continue
            # In turn by role, so that each role is hit in the shortest run; a producer first, for they are done soon.
            role = ROLES[rounds % 2]
            candidates = [node for node in working if node.role == role]
            if not candidates and not all(node.finished for node in company.nodes if node.role == role):
                continue
            chance.choice(candidates or working).kill()
            if happened := disturb(chance, rounds):
                events[happened] += 1
            rounds += 1
            due = company.count("applied") + wanted // STEPS
        for producer in producers:
            if producer.ended and not producer.finished:
                producer.start()
        company.until(lambda: all(producer.finished for producer in producers), 600, "all is committed")
        company.until(lambda: company.count("applied") >= wanted, 600, "all is applied")
        company.until(lambda: company.count("chat_outbox") == 0, 120, "the outbox is empty")
        kills = {node.plan.name: node.kills for node in company.nodes}
        killed = {role: sum(node.kills for node in company.nodes if node.role == role) for role in ROLES}
    ledger = read_ledger(database, GROUPS)
    faults = ledger.faults()
    print(
        f"\n{broker}: seed {seed}, {len(ledger.said)} messages over {KEYS} keys, {len(GROUPS)} groups, "
        f"{time.monotonic() - started:.0f} s, kills {kills}, broker faults {dict(events)}, {len(faults)} findings"
    )
    assert len(ledger.said) == MESSAGES // KEYS * KEYS
    assert not faults, "\n".join(faults[:20])
    assert all(killed.values()), f"not every role was killed, so the run proves nothing: {killed}"
    return events


def test_on_redis(database: str, tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis")
    server.start()

    def disturb(chance: random.Random, round: int) -> str | None:
        if round == 0 or chance.random() < 0.3:
            server.kill()
            time.sleep(chance.uniform(0, 1))
            server.start()
            return "restarted empty"
        return None

    try:
        events = run(database, "redis", server.url, tmp_path, disturb)
        assert events["restarted empty"] > 0
    finally:
        server.kill()


def test_on_rocketmq(database: str, tmp_path: Path) -> None:
    server = RocketMQ(tmp_path / "rocketmq")
    try:
        server.start()
        settings = RocketBrokerSettings(queues=4)
        server.create(RocketBroker.topics(["sold"], settings), RocketBroker.groups(GROUPS, settings))
        wiped: list[bool] = []

        def disturb(chance: random.Random, round: int) -> str | None:
            if round not in (0, 2) and chance.random() >= 0.1:
                return None
            server.kill_broker()
            first = not wiped
            if first:
                wiped.append(True)
                server.wipe()
            server.start_broker()
            return "killed and wiped" if first else "killed"

        events = run(database, "rocketmq", server.endpoint, tmp_path, disturb)
        assert events["killed and wiped"] == 1
        assert events["killed"] > 0
    finally:
        server.stop()


def test_without_a_broker_between(database: str, tmp_path: Path) -> None:
    assert not run(database, "memory", "", tmp_path, lambda chance, round: None)
