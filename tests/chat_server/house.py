"""The SQL rooms without a relay: what the outbox took is carried to fan-out when the test says so.

So a test decides what is lost, repeated or late, and nothing runs by itself.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from attrs import define, field
from chat_common.clock import ManualClock
from chat_common.codec.json import JsonCodec
from chat_common.memory.cache import MemoryCache
from chat_common.memory.directory import MemoryDirectory
from chat_common.plugins import Owned, Owner, Plugins
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.identity import IdentityProvider, Proof
from chat_common.ports.outbox import OutboxEntry
from chat_common.ports.push import PushProvider
from chat_common.records import Caller, Interceptor, Tables
from chat_server.auth.settings import AuthSettings
from chat_server.im.heat import FanoutSettings
from chat_server.items.settings import ItemSettings
from chat_server.logic.settings import GroupSettings, LogicSettings, UserSettings
from chat_server.pipeline import Pipeline
from chat_server.pipeline.limits import LimitSettings
from chat_server.rooms import RoomPorts, Rooms, RoomSettings, build
from chat_server.services import Delivery
from chat_server.store import migrate
from chat_server.store.database import SqlDatabase
from chat_server.store.postgresql import open_postgres
from chat_server.store.replies import SqlReplies
from chat_server.store.sqlite import SqliteDatabase, open_sqlite
from sqlalchemy import create_engine, event

from tests.services.postgresql import asyncpg_url, psycopg_url

GENEROUS = LimitSettings(**{name: 10**9 for name in LimitSettings.__annotations__ if name != "bots"})


def owned_tables() -> list[Tables]:
    return [owned.record for owned in Plugins.load().tables]


def read_transactions(database: SqlDatabase) -> list[int]:
    """Counts the read transactions from now on."""
    seen: list[int] = []
    engine = database.reader_engine if isinstance(database, SqliteDatabase) else database.engine.sync_engine  # type: ignore[attr-defined]
    event.listen(engine, "begin", lambda connection: seen.append(1))
    return seen


def migrated(url: str) -> None:
    """All tables of the installed plugins, as `chat-server migrate` makes them."""
    engine = create_engine(url)
    with engine.begin() as connection:
        migrate.upgrade_all(connection, owned_tables())
    engine.dispose()


@define
class Store:
    """Where a server keeps its data: a fresh, migrated database."""

    dialect: str
    folder: Path
    url: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """For `Server(settings=…)`."""
        chosen: dict[str, Any] = {
            "server": {"data": str(self.folder)},
            "auth": {"dev": True},
            "groups": {"strangers": "allow"},
        }
        if self.dialect == "postgresql":
            chosen |= {"ports": {"database": "postgresql"}, "database": {"postgresql": {"url": asyncpg_url(self.url)}}}
        return chosen

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[SqlDatabase]:
        if self.dialect == "postgresql":
            async with open_postgres(asyncpg_url(self.url)) as postgres:
                yield postgres
        else:
            async with open_sqlite(self.folder / "chat.db") as sqlite:
                yield sqlite


@contextlib.contextmanager
def fresh_sqlite(template: Path, folder: Path) -> Iterator[Store]:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template, folder / "chat.db")
    yield Store("sqlite", folder)


@contextlib.contextmanager
def fresh_postgresql(address: str, template: str, folder: Path) -> Iterator[Store]:
    name = f"chat_{secrets.token_hex(6)}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield Store("postgresql", folder, f"{address.rsplit('/', 1)[0]}/{name}")
        finally:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextlib.contextmanager
def postgresql_template(address: str) -> Iterator[str]:
    name = f"chat_template_{secrets.token_hex(6)}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        migrated(psycopg_url(f"{address.rsplit('/', 1)[0]}/{name}"))
        try:
            yield name
        finally:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@define
class HandOutbox:
    """Takes what is committed and keeps it until the test carries it on."""

    ready: list[BrokerRecord] = field(factory=list)
    numbers: Iterator[int] = field(factory=lambda: itertools.count(1))

    def write(self, connection: Any, entries: Sequence[OutboxEntry]) -> Sequence[Any]:
        return list(entries)

    def committed(self, tokens: Sequence[Any]) -> None:
        for entry in tokens:
            inline = list(entry.inline) if entry.inline is not None else None
            number = str(next(self.numbers))
            self.ready.append(BrokerRecord(entry.topic, entry.key, entry.payload, number, inline=inline))

    def take(self, topic: str | None = None) -> list[BrokerRecord]:
        """What waits (of one topic), removed."""
        taken = [record for record in self.ready if topic in (None, record.topic)]
        self.ready = [record for record in self.ready if topic not in (None, record.topic)]
        return taken


@define
class House:
    """The rooms over a database, the clock in the test's hand."""

    store: Store
    database: SqlDatabase
    clock: ManualClock
    outbox: HandOutbox
    rooms: Rooms
    pipeline: Pipeline
    delivered: list[Delivery] = field(factory=list)

    async def user(self, name: str) -> str:
        made = await self.rooms.executor.apply(lambda tx: self.rooms.auth.ensure_user(tx, Proof("app", name, name)))
        return made.user

    async def users(self, *names: str) -> list[str]:
        return [await self.user(name) for name in names]

    async def call(self, user: str, command: str, /, *, ref: str | None = None, **params: Any) -> Any:
        """The answer as plain data, as a client reads it. A `ChatError` is raised."""
        caller = Caller(user, ref or secrets.token_urlsafe(16))
        return plain(await self.pipeline.call(caller, command, params))

    async def say(self, user: str, conversation: str, text: str = "hi", **others: Any) -> Any:
        return await self.call(user, "submit", conversation=conversation, kind="text", body={"text": text}, **others)

    async def group(self, owner: str, *members: str, name: str = "group") -> str:
        return str((await self.call(owner, "group.create", name=name, members=list(members)))["conversation"])

    async def pump(self) -> None:
        """Carry everything that waits to its consumers, until nothing waits."""
        await self.rooms.logic.restamping.finish()
        while records := self.outbox.take():
            stored = [record for record in records if record.topic == "stored"]
            changed = [record for record in records if record.topic == "changed"]
            if stored:
                await self.rooms.fanout.stored(stored)
            if changed:
                await self.rooms.im._parts.own_changes.changed(changed)

    def pushed(self, user: str) -> list[Any]:
        """The pushes that deliveries named this user for, in order."""
        return [push for one in self.delivered if one.users is not None and user in one.users for push in one.pushes]

    async def rows(self, statement: Any) -> Sequence[Any]:
        return await self.database.read(lambda connection: connection.execute(statement).all())


def plain(record: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(record))


@contextlib.asynccontextmanager
async def opened(
    store: Store,
    *,
    fanout: FanoutSettings | None = None,
    auth: AuthSettings | None = None,
    identity_providers: Mapping[str, IdentityProvider] | None = None,
    logic: LogicSettings | None = None,
    interceptors: Sequence[Interceptor] = (),
    items: ItemSettings | None = None,
    push_providers: Mapping[str, PushProvider] | None = None,
) -> AsyncIterator[House]:
    """A house over this store, in which strangers are put into groups unasked and names change often."""
    clock, outbox = ManualClock(), HandOutbox()
    plugins = Plugins.load()
    async with store.open() as database:
        ports = RoomPorts(
            database=database,
            outbox=outbox,
            directory=MemoryDirectory(clock),
            cache=MemoryCache(clock),
            clock=clock,
            node="here",
            kinds={owned.record.name: owned.record for owned in plugins.kinds},
            identity_providers=identity_providers or {},
            items=[owned.record for owned in plugins.items],
            push_providers=push_providers or {},
        )
        settings = RoomSettings(
            fanout=fanout or FanoutSettings(),
            auth=auth or AuthSettings(dev=True),
            items=items or ItemSettings(),
            logic=logic or LogicSettings(GroupSettings(strangers="allow"), UserSettings(renames=1_000_000)),
        )
        rooms = await build(ports, settings, lambda event, data: None)
        commands = [Owned(command, Owner(room.room)) for room in rooms.contributions() for command in room.commands]
        pipeline = Pipeline(
            commands,
            [Owned(it, Owner("test")) for it in interceptors],
            codec=JsonCodec(),
            clock=clock,
            replies=SqlReplies(database, clock),
            limits=GENEROUS,
            role_of=rooms.admin.users.role_of,
        )
        house = House(store, database, clock, outbox, rooms, pipeline)

        async def deliver(deliveries: Sequence[Delivery]) -> None:
            house.delivered.extend(deliveries)

        rooms.fanout._deliver = rooms.im._parts.own_changes._deliver = deliver
        yield house


def seqs(page: Mapping[str, Any]) -> list[int]:
    return [message["seq"] for message in page["messages"]]
