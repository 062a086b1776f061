"""What this package brings into the server: the outbox, its relay, the in-process broker, their tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from chat_common.hookspecs import hookimpl
from chat_common.ports.broker import Broker
from chat_common.ports.cache import Cache
from chat_common.ports.database import Database
from chat_common.ports.directory import Directory
from chat_common.ports.outbox import DeadLetters, Outbox, Relay
from chat_common.records import Backend, Context, Tables
from chat_common.settings import SetupError

from chat_transaction.brokers.memory import MemoryBroker
from chat_transaction.relay.relay import SqlRelay
from chat_transaction.settings import (
    MemoryBrokerSettings,
    RedisBrokerSettings,
    RedisCacheSettings,
    RedisDirectorySettings,
    RelaySettings,
    RocketBrokerSettings,
)
from chat_transaction.sql import tables
from chat_transaction.sql.dead_letters import SqlDeadLetters
from chat_transaction.sql.outbox import SqlOutbox


@asynccontextmanager
async def _outbox(context: Context) -> AsyncIterator[SqlOutbox]:
    yield SqlOutbox(context.clock)


@asynccontextmanager
async def _relay(context: Context) -> AsyncIterator[SqlRelay]:
    outbox = await context.get(Outbox)  # type: ignore[type-abstract]
    if not isinstance(outbox, SqlOutbox):
        raise TypeError(f"The relay 'sql' needs the outbox 'sql', not {type(outbox).__name__}.")
    broker = await context.get(Broker)  # type: ignore[type-abstract]
    database = await context.get(Database)  # type: ignore[type-abstract]
    yield SqlRelay(outbox, broker, database, context.clock, context.settings)


@asynccontextmanager
async def _memory(context: Context) -> AsyncIterator[MemoryBroker]:
    async with MemoryBroker(context.settings).opened() as broker:
        yield broker


@contextmanager
def _extra(backend: str, extra: str) -> Iterator[None]:
    """Imports within need an extra."""
    try:
        yield
    except ImportError as error:
        raise SetupError(f"The {backend} needs an extra: install interesting-chat-transaction[{extra}].") from error


@asynccontextmanager
async def _redis(context: Context) -> AsyncIterator[Broker]:
    with _extra("broker 'redis'", "redis"):
        from chat_transaction.redis.broker import RedisBroker
    async with RedisBroker(context.settings).opened() as broker:
        yield broker


@asynccontextmanager
async def _redis_directory(context: Context) -> AsyncIterator[Directory]:
    with _extra("directory 'redis'", "redis"):
        from chat_transaction.redis.directory import RedisDirectory
    async with RedisDirectory(context.settings).opened() as directory:
        yield directory


@asynccontextmanager
async def _redis_cache(context: Context) -> AsyncIterator[Cache]:
    with _extra("cache 'redis'", "redis"):
        from chat_transaction.redis.cache import RedisCache
    async with RedisCache(context.clock, context.settings).opened() as cache:
        yield cache


@asynccontextmanager
async def _rocketmq(context: Context) -> AsyncIterator[Broker]:
    from chat_transaction.brokers.rocketmq import RocketBroker

    try:
        async with RocketBroker(context.settings).opened() as broker:
            yield broker
    except ModuleNotFoundError as error:
        raise SetupError("The broker 'rocketmq' needs interesting-chat-transaction[rocketmq].") from error


@asynccontextmanager
async def _dead_letters(context: Context) -> AsyncIterator[SqlDeadLetters]:
    yield SqlDeadLetters(await context.get(Database), context.clock)  # type: ignore[type-abstract]


@hookimpl
def chat_backends() -> Sequence[Backend]:
    return [
        Backend(Outbox, "sql", _outbox, summary="Rows in the chat's own database.", default=True),
        Backend(Relay, "sql", _relay, RelaySettings, "Reported and scanned rows, in order per key.", default=True),
        Backend(Broker, "memory", _memory, MemoryBrokerSettings, "Inside this process.", default=True),
        Backend(Broker, "redis", _redis, RedisBrokerSettings, "Redis Streams; one server, not Redis Cluster."),
        Backend(Directory, "redis", _redis_directory, RedisDirectorySettings, "Redis or Valkey: for many nodes."),
        Backend(Cache, "redis", _redis_cache, RedisCacheSettings, "Redis or Valkey: for many nodes."),
        Backend(Broker, "rocketmq", _rocketmq, RocketBrokerSettings, "RocketMQ 5 through its proxy."),
        Backend(DeadLetters, "sql", _dead_letters, summary="A table in the chat's own database.", default=True),
    ]


@hookimpl
def chat_tables() -> Sequence[Tables]:
    return [Tables(tables.OWNER, tables.metadata, tables.REVISIONS)]
