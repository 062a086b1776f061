"""What this package brings into the server: the outbox, its relay, the in-process broker, their tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chat_common.hookspecs import hookimpl
from chat_common.ports.broker import Broker
from chat_common.ports.database import Database
from chat_common.ports.outbox import Outbox, Relay
from chat_common.records import Backend, Context, Tables

from chat_transaction import tables
from chat_transaction.memory_broker import MemoryBroker
from chat_transaction.outbox import SqlOutbox
from chat_transaction.relay import SqlRelay
from chat_transaction.settings import MemoryBrokerSettings, RelaySettings


@asynccontextmanager
async def _outbox(context: Context) -> AsyncIterator[SqlOutbox]:
    yield SqlOutbox(context.clock)


@asynccontextmanager
async def _relay(context: Context) -> AsyncIterator[SqlRelay]:
    outbox = await context.get(Outbox)  # type: ignore[type-abstract]
    if not isinstance(outbox, SqlOutbox):
        raise TypeError(f"the relay 'sql' needs the outbox 'sql', not {type(outbox).__name__}")
    broker = await context.get(Broker)  # type: ignore[type-abstract]
    database = await context.get(Database)  # type: ignore[type-abstract]
    yield SqlRelay(outbox, broker, database, context.clock, context.settings)


@asynccontextmanager
async def _memory(context: Context) -> AsyncIterator[MemoryBroker]:
    async with MemoryBroker(context.settings).opened() as broker:
        yield broker


@hookimpl
def chat_backends() -> Sequence[Backend]:
    return [
        Backend(Outbox, "sql", _outbox, summary="Rows in the chat's own database.", default=True),
        Backend(Relay, "sql", _relay, RelaySettings, "Reported and scanned rows, in order per key.", default=True),
        Backend(Broker, "memory", _memory, MemoryBrokerSettings, "Inside this process.", default=True),
    ]


@hookimpl
def chat_tables() -> Sequence[Tables]:
    return [Tables(tables.OWNER, tables.metadata, tables.REVISIONS)]
