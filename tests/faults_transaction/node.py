"""A process of the ledger runs: ``python -m tests.faults_transaction.node ROLE JSON``.

``producer`` commits business rows with their intents; ``relay`` carries them out, applying each in a transaction. Both
are killed at any moment and started again with the same arguments.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from attrs import frozen
from chat_common.clock import SystemClock
from chat_common.ports.broker import Broker, BrokerRecord
from chat_common.ports.outbox import OutboxEntry
from chat_transaction import consumer
from chat_transaction.brokers.memory import MemoryBroker
from chat_transaction.relay.relay import SqlRelay
from chat_transaction.settings import (
    MemoryBrokerSettings,
    RedisBrokerSettings,
    RelaySettings,
    RocketBrokerSettings,
)
from chat_transaction.sql.database import EngineDatabase
from chat_transaction.sql.outbox import SqlOutbox
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, create_engine, func, insert, select
from sqlalchemy.ext.asyncio import create_async_engine

metadata = MetaData()
said = Table("said", metadata, Column("key", Text, primary_key=True), Column("number", Integer, primary_key=True))
"""The business rows: what was committed."""
applied = Table(
    "applied",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("group", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("node", Text, nullable=False),
    Column("beside", Integer, nullable=False, server_default="0"),
)
"""The effects, in the order in which they were applied; ``beside``: how many transactions of effects were open then,
where effects are slow."""
SLOW = 4711
"""The advisory lock that every slow effect shares while it lasts, so that they can be counted."""
_BESIDE = f"SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = {SLOW} AND granted"


@frozen
class Plan:
    """The JSON argument. Seconds: ``slow`` is what an effect takes, ``pace`` a producer's pause between commits."""

    database: str
    name: str
    broker: str = "memory"
    address: str = ""
    keys: tuple[int, int] = (0, 0)
    messages: int = 0
    groups: tuple[str, ...] = ("books",)
    lease: float = 3.0
    slow: float = 0.0
    pace: float = 0.0


async def produce(plan: Plan) -> None:
    """Commit ``messages`` per key, twenty rows a transaction, going on where an earlier life ended."""
    engine = create_async_engine(plan.database)
    outbox = SqlOutbox(SystemClock())
    database = EngineDatabase(engine)
    first, last = plan.keys
    names = [f"key-{number}" for number in range(first, last)]
    query = select(said.c.key, func.max(said.c.number)).where(said.c.key.in_(names)).group_by(said.c.key)
    found = await database.read(lambda connection: dict(connection.execute(query).all()))
    following = {name: found.get(name, -1) + 1 for name in names}
    names = [name for name in names if following[name] < plan.messages]
    print("ready", flush=True)
    while names:
        batch = []
        for name in names[:20]:
            batch.append((name, following[name]))
            following[name] += 1

        def commit(connection: Any, batch: list[tuple[str, int]] = batch) -> None:
            connection.execute(insert(said), [{"key": key, "number": number} for key, number in batch])
            outbox.write(connection, [OutboxEntry("sold", key, str(number).encode()) for key, number in batch])

        await database.change(commit)
        names = [name for name in names[20:] + names[:20] if following[name] < plan.messages]
        await asyncio.sleep(plan.pace)
    await engine.dispose()


@asynccontextmanager
async def opened_broker(plan: Plan) -> AsyncIterator[Broker]:
    if plan.broker == "redis":
        from chat_transaction.redis.broker import RedisBroker

        redis = RedisBrokerSettings(url=plan.address, lease=plan.lease / 2, shards=8, retry_first=0.05, retry_cap=0.5)
        async with RedisBroker(redis).opened() as broker:
            yield broker
    elif plan.broker == "rocketmq":
        from chat_transaction.brokers.rocketmq import RocketBroker

        rocket = RocketBrokerSettings(endpoints=plan.address, retry_first=0.05, retry_cap=0.5)
        async with RocketBroker(rocket).opened() as rocket_broker:
            yield rocket_broker
    else:
        async with MemoryBroker(MemoryBrokerSettings(retry_first=0.05)).opened() as memory:
            yield memory


def show_tasks() -> None:
    """Where every task stands, into the log: for a run that does not end."""
    for task in asyncio.all_tasks():
        task.print_stack(limit=4, file=sys.stderr)


async def relay(plan: Plan) -> None:
    engine = create_async_engine(plan.database, pool_size=10)
    database, clock = EngineDatabase(engine), SystemClock()

    def effect(group: str) -> Any:
        @consumer("sold", group, attempts=1_000_000)
        def book(connection: Any, record: BrokerRecord) -> None:
            values = {"group": group, "key": record.key, "number": int(record.payload), "node": plan.name}
            if plan.slow:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({SLOW})")
                values["beside"] = connection.exec_driver_sql(_BESIDE).scalar_one()
            connection.execute(insert(applied), values)
            if plan.slow:
                connection.exec_driver_sql(f"SELECT pg_sleep({plan.slow})")

        return book.on(database)

    settings = RelaySettings(
        scan_interval=0.5, lease=plan.lease, retry_first=0.05, retry_cap=0.5, republish_after=10.0, purge_interval=0.1
    )
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, show_tasks)
    async with opened_broker(plan) as broker:
        # A broker that is down at the start is waited for, as a supervisor would.
        carrier = SqlRelay(SqlOutbox(clock), broker, database, clock, settings)
        async with carrier.running([effect(group) for group in plan.groups], ()):
            print("ready", flush=True)
            await ended.wait()
    await engine.dispose()


def main() -> None:
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("rocketmq-python-client").setLevel(logging.CRITICAL)
    role, text = sys.argv[1:]
    values = json.loads(text)
    plan = Plan(**{**values, **{name: tuple(values[name]) for name in ("keys", "groups") if name in values}})
    asyncio.run({"producer": produce, "relay": relay}[role](plan))


def create_tables(database: str) -> None:
    from chat_transaction.sql import tables

    engine = create_engine(database)
    metadata.create_all(engine)
    tables.create_tables(engine)
    engine.dispose()


if __name__ == "__main__":
    main()
