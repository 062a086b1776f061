"""The outbox by itself: rows a second, CPU per row, and the time from commit to handler, per database and broker.

``python -m bench.outbox [--rows 20000] [--rocketmq] [--relays 1 4]`` prints three Markdown tables. By broker: one
process writes, relays and handles. Submits of a server: each has its receipt, so it is on PostgreSQL's disk. Several
relays, a process each, a fifth of the rows: every effect takes 0.2 s in its transaction, as a remote system would; the
ratio is to the first number of relays.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from chat_common.clock import SystemClock
from chat_common.ports.broker import Broker, BrokerRecord
from chat_common.ports.outbox import OutboxEntry
from chat_common.records import Consumer
from chat_transaction.brokers.memory import MemoryBroker
from chat_transaction.relay.relay import SqlRelay
from chat_transaction.settings import RedisBrokerSettings, RelaySettings, RocketBrokerSettings
from chat_transaction.sql import tables
from chat_transaction.sql.database import EngineDatabase
from chat_transaction.sql.outbox import SqlOutbox
from sqlalchemy import create_engine, event, func, select
from sqlalchemy.ext.asyncio import create_async_engine

from tests.chat_server.house import Store, migrated
from tests.faults_transaction.ledger import Company
from tests.faults_transaction.node import Plan, create_tables
from tests.services.postgresql import asyncpg_url, fresh_database, psycopg_url, running_postgresql
from tests.services.redis import running_redis
from tests.services.rocketmq import running_rocketmq

BATCH = 50
CALLERS, CHATS = 64, 100
"""Submits that are open at once, over so many rooms of two."""
EFFECT, KEYS = 0.2, 400
"""Seconds that an effect takes (so long that the processors are idle meanwhile), and keys that the rows of several
relays belong to."""
SHARE = 5
"""Several relays carry a fifth of the rows."""
PAYLOAD = b'{"conversation":"0123456789abcdef","first":1,"last":2}'


class Arrivals:
    """Handled rows; wakes who waits for a number of them."""

    def __init__(self) -> None:
        self.count = 0
        self.wanted = 0
        self.reached = asyncio.Event()
        self.at: dict[bytes, float] = {}

    async def __call__(self, records: Sequence[BrokerRecord]) -> None:
        now = time.perf_counter()
        for record in records:
            self.at.setdefault(record.payload, now)
        self.count = len(self.at)
        if self.count >= self.wanted:
            self.reached.set()

    async def until(self, count: int) -> None:
        self.wanted = count
        self.reached.clear()
        if self.count < count:
            async with asyncio.timeout(300):
                await self.reached.wait()


@asynccontextmanager
async def opened_broker(kind: str, address: str) -> AsyncIterator[Broker]:
    if kind == "redis":
        from chat_transaction.redis.broker import RedisBroker

        async with RedisBroker(RedisBrokerSettings(url=address)).opened() as redis:
            yield redis
    elif kind == "rocketmq":
        from chat_transaction.brokers.rocketmq import RocketBroker

        async with RocketBroker(RocketBrokerSettings(endpoints=address)).opened() as rocket:
            yield rocket
    else:
        async with MemoryBroker().opened() as memory:
            yield memory


async def measure(database_url: str, kind: str, address: str, rows: int) -> dict[str, float]:
    engine: Any
    if database_url.startswith("sqlite"):
        engine = create_engine(database_url)
        event.listen(engine, "connect", _durable)
    else:
        engine = create_async_engine(database_url)
    database, clock, arrivals = EngineDatabase(engine), SystemClock(), Arrivals()
    await database.change(tables.create_tables)
    outbox = SqlOutbox(clock)
    async with opened_broker(kind, address) as broker:
        relay = SqlRelay(outbox, broker, database, clock, RelaySettings())
        async with relay.running([Consumer("stored", "fanout", arrivals)], ()):
            written = 0

            async def write(count: int) -> None:
                nonlocal written
                entries = [
                    OutboxEntry("stored", f"c{(written + number) % 500}", PAYLOAD + str(written + number).encode())
                    for number in range(count)
                ]
                written += count
                tokens = await database.change(lambda connection: outbox.write(connection, entries))
                outbox.committed(tokens)

            await write(BATCH)
            await arrivals.until(BATCH)
            latencies = []
            for _ in range(100):
                await write(1)
                committed = time.perf_counter()
                await arrivals.until(written)
                latencies.append(max(0.0, max(arrivals.at.values()) - committed))
                await asyncio.sleep(0.02)
            latencies.sort()
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(rows // BATCH):
                await write(BATCH)
            await arrivals.until(written)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    (await engine.dispose()) if database_url.startswith("postgresql") else engine.dispose()
    return {
        "rows": rows / wall,
        "cpu": cpu / rows * 1e6,
        "p50": latencies[len(latencies) // 2] * 1000,
        "p99": latencies[int(len(latencies) * 0.99)] * 1000,
    }


async def measure_submits(url: str, folder: Path, count: int) -> dict[str, float]:
    """Receipts of a server on PostgreSQL, fan-out and relay at work beside them."""
    from chat_server.server import Server

    migrated(psycopg_url(url))
    settings = {**Store("postgresql", folder, url).settings, "limits": {"points": 0}}
    open_groups = {"groups": {"strangers": "allow"}}
    async with Server(settings={**settings, **open_groups}, environ={}) as server:
        people = [(await server.ensure_user(f"u{number}")).user for number in range(CHATS + 1)]
        chats = [
            (await server.call("group.create", {"name": "Pair", "members": [one]}, user=people[0])).conversation
            for one in people[1:]
        ]
        numbers = iter(range(count))

        async def caller() -> None:
            for number in numbers:
                say = {"conversation": chats[number % CHATS], "kind": "text", "body": {"text": "x" * 128}}
                await server.call("submit", say, user=people[1 + number % CHATS], ref=f"r{number}")

        wall, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(caller())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"submits": count / wall, "cpu": cpu / count * 1e6}


def measure_relays(url: str, folder: Path, relays: int, rows: int) -> float:
    """Effects a second of so many relay processes, over keys that are spread over all shards."""
    create_tables(psycopg_url(url))
    engine = create_engine(psycopg_url(url))
    outbox = SqlOutbox(SystemClock())
    shares = select(func.count()).select_from(tables.leases).group_by(tables.leases.c.owner)

    def shared() -> bool:
        with engine.connect() as connection:
            found = connection.execute(shares).scalars().all()
        return len(found) == relays and max(found) == -(-tables.SHARDS // relays)

    with Company(url) as company:
        for number in range(relays):
            plan = Plan(asyncpg_url(url), f"relay-{number}", slow=EFFECT)
            company.add("relay", plan, folder / f"{relays}-relay-{number}.log")
        company.until(shared, 60, "every relay has its share")
        with engine.begin() as connection:
            outbox.write(
                connection, [OutboxEntry("sold", f"key-{n % KEYS}", str(n // KEYS).encode()) for n in range(rows)]
            )
        wall = time.perf_counter()
        company.until(lambda: company.count("applied") >= rows, 600, "all is applied")
        wall = time.perf_counter() - wall
    engine.dispose()
    return rows / wall


def _durable(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rocketmq", action="store_true", help="Start a RocketMQ as well (Java 17; half a minute).")
    parser.add_argument("--relays", type=int, nargs="+", default=[1, 4], help="Relay processes to compare.")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgresql = stack.enter_context(running_postgresql()).address
        redis = stack.enter_context(running_redis(folder / "redis")).url
        cases = [("SQLite, FULL", "memory", ""), ("PostgreSQL", "memory", ""), ("PostgreSQL", "redis", redis)]
        if arguments.rocketmq:
            from chat_transaction.brokers.rocketmq import RocketBroker

            server = stack.enter_context(running_rocketmq(folder / "rocketmq"))
            server.create(
                RocketBroker.topics(["stored"], RocketBrokerSettings()),
                RocketBroker.groups(["fanout"], RocketBrokerSettings()),
            )
            cases.append(("PostgreSQL", "rocketmq", server.endpoint))
        print("| database | broker | rows/s | CPU µs a row | commit to handler p50 ms | p99 ms |")
        print("|---|---|---|---|---|---|")
        for database, broker, address in cases:
            if database == "PostgreSQL":
                with fresh_database(postgresql) as url:
                    found = asyncio.run(measure(asyncpg_url(url), broker, address, arguments.rows))
            else:
                found = asyncio.run(measure(f"sqlite:///{folder / 'bench.db'}", broker, address, arguments.rows))
            print(
                f"| {database} | {broker} | {found['rows']:,.0f} | {found['cpu']:.0f} "
                f"| {found['p50']:.2f} | {found['p99']:.2f} |",
                flush=True,
            )
        print("\n| database | callers | durable submits/s | CPU µs a submit |\n|---|---|---|---|")
        with fresh_database(postgresql) as url:
            found = asyncio.run(measure_submits(url, folder / "server", arguments.rows))
        print(f"| PostgreSQL | {CALLERS} | {found['submits']:,.0f} | {found['cpu']:.0f} |", flush=True)
        print("\n| relays | effects/s | ratio |\n|---|---|---|")
        first = 0.0
        for relays in arguments.relays:
            with fresh_database(postgresql) as url:
                rate = measure_relays(url, folder, relays, arguments.rows // SHARE)
            first = first or rate
            print(f"| {relays} | {rate:,.0f} | {rate / first:.2f} |", flush=True)


if __name__ == "__main__":
    main()
