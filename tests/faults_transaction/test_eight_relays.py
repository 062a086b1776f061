"""Eight relays on one PostgreSQL: few keys and kills, an owner that is stopped beyond its lease, many keys."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from chat_transaction.settings import MemoryBrokerSettings
from chat_transaction.sql.outbox import shard_of

from tests.faults_transaction.ledger import Company, Node, read_ledger
from tests.faults_transaction.node import Plan, create_tables
from tests.services.postgresql import asyncpg_url, fresh_database, psycopg_url, running_postgresql

LEASE = 3.0
LONG = int(os.environ.get("CHAT_FAULTS_MESSAGES", "0")) >= 100_000
ROWS = 10_000 if LONG else 1_500
FENCED, KILLS = 2, 5 if LONG else 3
"""Owners that are stopped for longer than their lease, and owners that are killed."""
PACE = 0.05 if LONG else 0.15
"""Between two commits of three rows, so that all of this happens while rows are written."""
WORKERS = MemoryBrokerSettings().shards
"""Transactions that one relay runs at once."""


@pytest.fixture
def database() -> Iterator[str]:
    with running_postgresql() as server, fresh_database(server.address) as address:
        create_tables(psycopg_url(address))
        yield address


def owner_of(database: str, key: str) -> int | None:
    """The process that holds the key's shard."""
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT owner FROM chat_outbox_lease WHERE shard = %s", [shard_of(key)]).fetchone()
    return int(row[0].split(":")[1]) if row and row[0] else None


def fence_of(database: str, key: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT fence FROM chat_outbox_lease WHERE shard = %s", [shard_of(key)]).fetchone()
    assert row is not None
    return int(row[0])


def owners(database: str) -> int:
    """How many processes hold shards."""
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT count(DISTINCT owner) FROM chat_outbox_lease").fetchone()
    assert row is not None
    return int(row[0])


def effects(database: str, key: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT count(*) FROM applied WHERE key = %s", [key]).fetchone()
        assert row is not None
        return int(row[0])


def test_no_inversion_and_nothing_run_by_a_fenced_out_owner(database: str, tmp_path: Path) -> None:
    """Rows of 3 keys; relays are killed, and one that owns a key is stopped for longer than its lease."""
    messages, keys = ROWS // 3, 3
    with Company(database) as company:
        producer = company.add(
            "producer",
            Plan(asyncpg_url(database), "producer", keys=(0, keys), messages=messages, pace=PACE),
            tmp_path / "p.log",
        )
        for number in range(8):
            plan = Plan(asyncpg_url(database), f"relay-{number}", lease=LEASE)
            company.add("relay", plan, tmp_path / f"relay-{number}.log")
        relays = [node for node in company.nodes if node.role == "relay"]
        by_pid = {}

        def owner() -> Node | None:
            by_pid.update({node.process.pid: node for node in relays if node.process is not None and not node.ended})
            return by_pid.get(owner_of(database, "key-0") or 0)

        fenced = kills = 0
        while fenced < FENCED or kills < KILLS:
            node = owner()
            if node is None or effects(database, "key-0") == 0:
                time.sleep(0.1)
            elif fenced < FENCED:
                node.send(signal.SIGSTOP)
                before = fence_of(database, "key-0")
                company.until(
                    lambda node=node: owner() not in (None, node),  # type: ignore[misc]
                    60,
                    "somebody else takes the stopped owner's shard",
                )
                frozen = effects(database, "key-0")
                assert fence_of(database, "key-0") > before
                company.until(
                    lambda frozen=frozen: effects(database, "key-0") > frozen,  # type: ignore[misc]
                    60,
                    "its key goes on without it",
                )
                fenced += 1
                node.send(signal.SIGCONT)
            else:
                node.kill()
                kills += 1
                node.start()
                frozen = effects(database, "key-0")
                company.until(
                    lambda frozen=frozen: effects(database, "key-0") > frozen,  # type: ignore[misc]
                    60,
                    "its key goes on after the kill",
                )
            assert not producer.finished, "the faults must happen while rows are written"
        company.until(lambda: producer.finished, 600, "all is committed")
        company.until(lambda: company.count("applied") >= messages * keys, 300, "all is applied")
    ledger = read_ledger(database, ["books"])
    print(f"\n{len(ledger.said)} rows of {keys} keys, eight relays: {fenced} owners fenced out, {kills} killed")
    assert (fenced, kills) == (FENCED, KILLS)
    assert sum(node.kills for node in relays) == KILLS
    assert not ledger.faults()


@pytest.mark.parametrize("relays", [1, 4])
def test_many_keys_are_shared(database: str, tmp_path: Path, relays: int) -> None:
    """Each effect takes a while in its transaction, as for a remote system, and counts those that run beside it: more
    relays carry more at once. (Effects a second: `bench/outbox.py`.)"""
    keys, messages = 200, 5
    with Company(database) as company:
        for number in range(relays):
            plan = Plan(asyncpg_url(database), f"relay-{number}", lease=LEASE, slow=0.02)
            company.add("relay", plan, tmp_path / f"relay-{number}.log")
        company.until(lambda: owners(database) == relays, 60, "every relay has its share")
        company.add(
            "producer", Plan(asyncpg_url(database), "producer", keys=(0, keys), messages=messages), tmp_path / "p.log"
        )
        company.until(lambda: company.count("applied") >= keys * messages, 300, "all is applied")
    with psycopg.connect(database) as connection:
        shares = connection.execute("SELECT node, count(*) FROM applied GROUP BY node ORDER BY node").fetchall()
        (at_once,) = connection.execute("SELECT max(beside) FROM applied").fetchone() or (0,)
    print(f"\n{relays} relays: up to {at_once} transactions at once, shares {shares}")
    assert not read_ledger(database, ["books"]).faults()
    assert len(shares) == relays, "every relay has carried some"
    if relays == 1:
        assert 1 < at_once <= WORKERS, "one relay works on several shards at once, up to its limit"
    else:
        assert at_once > WORKERS, "several relays together must do more at once than one can"
