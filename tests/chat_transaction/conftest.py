"""An outbox on a SQLite file, with relays over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from chat_common.clock import Clock, SystemClock
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.outbox import OutboxEntry
from chat_common.records import Consumer, Ensured
from chat_transaction.brokers.memory import MemoryBroker
from chat_transaction.relay.relay import SqlRelay
from chat_transaction.settings import MemoryBrokerSettings, RelaySettings
from chat_transaction.sql import tables
from chat_transaction.sql.database import EngineDatabase
from chat_transaction.sql.outbox import OutboxRow, SqlOutbox
from sqlalchemy import Engine, create_engine, event, select

from tests.services.postgresql import fresh_database, postgresql_address, psycopg_url


class Seen:
    """What a handler got, and a way to wait for it."""

    def __init__(self) -> None:
        self.records: list[BrokerRecord] = []
        self._changed = asyncio.Condition()

    async def __call__(self, records: Sequence[BrokerRecord]) -> None:
        async with self._changed:
            self.records += records
            self._changed.notify_all()

    async def count(self, count: int) -> None:
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: len(self.records) >= count)

    def payloads(self, key: str | None = None) -> list[bytes]:
        return [record.payload for record in self.records if key is None or record.key == key]


async def until(condition: Callable[[], Awaitable[Any]], patience: float = 60.0) -> None:
    """Ask again and again until the answer is truthy: for what no event tells, such as a row of a table."""
    async with asyncio.timeout(patience):
        while not await condition():  # noqa: ASYNC110 - nothing in another process or thread can set an event
            await asyncio.sleep(0.01)


@define
class Shop:
    """One database; `write` stands for a business transaction."""

    engine: Engine
    clock: Clock = field(factory=SystemClock)
    outbox: SqlOutbox = field(init=False)
    database: EngineDatabase = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.outbox = SqlOutbox(self.clock)
        self.database = EngineDatabase(self.engine)

    async def write(self, *entries: OutboxEntry, report: bool = True) -> Sequence[OutboxRow]:
        tokens = await self.database.change(lambda connection: self.outbox.write(connection, entries))
        if report:
            self.outbox.committed(tokens)
        return tokens

    def relay(self, **settings: Any) -> SqlRelay:
        settings = {"scan_interval": 0.05, "purge_interval": 0.01, "retry_first": 0.01, "retry_cap": 0.05} | settings
        broker = MemoryBroker(MemoryBrokerSettings(retry_first=0.01))
        return SqlRelay(self.outbox, broker, self.database, self.clock, RelaySettings(**settings))

    @asynccontextmanager
    async def relaying(
        self, *consumers: Consumer, ensured: Sequence[Ensured] = (), **settings: Any
    ) -> AsyncIterator[SqlRelay]:
        relay = self.relay(**settings)
        async with relay.running(consumers, ensured):
            yield relay

    async def rows(self, table: Any = tables.outbox) -> Sequence[Any]:
        return await self.database.read(
            lambda connection: connection.execute(select(table).order_by(*table.primary_key)).all()
        )

    async def until_empty(self) -> None:
        async def is_empty() -> bool:
            return not await self.rows()

        await until(is_empty)


def sqlite_engine(path: Path | str) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA busy_timeout=10000")

    return engine


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a running PostgreSQL."""
    with postgresql_address() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def engine_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database; the one after the other on both engines."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shop.db'}"
        return
    with fresh_database(request.getfixturevalue("postgresql")) as address:
        yield psycopg_url(address)


@pytest.fixture
def open_shop(engine_url: str) -> Iterator[Callable[..., Shop]]:
    """Opens the one database again, as another process would."""
    engines = []

    def open(**arguments: Any) -> Shop:
        engine = create_engine(engine_url) if engine_url.startswith("postgresql") else sqlite_engine(engine_url[10:])
        engines.append(engine)
        tables.create_tables(engine)
        return Shop(engine, **arguments)

    yield open
    for engine in engines:
        engine.dispose()


@pytest.fixture
def shop(open_shop: Callable[..., Shop]) -> Shop:
    return open_shop()


def entry(key: str, payload: object = "", topic: str = "orders", **others: Any) -> OutboxEntry:
    return OutboxEntry(topic, key, str(payload).encode(), **others)
