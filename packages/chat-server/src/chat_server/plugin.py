"""What the server itself registers, through the same hooks as everybody: databases, kinds, sections, tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define
from chat_common.hookspecs import hookimpl
from chat_common.memory import DIRECT_RPC, MEMORY_CACHE, MEMORY_DIRECTORY
from chat_common.ports.database import Database
from chat_common.ports.directory import Directory
from chat_common.ports.push import PushProvider
from chat_common.ports.rpc import Rpc
from chat_common.records import Backend, CatalogueItem, Command, ContentKind, Context, Section, Tables, Task
from chat_common.settings import SetupError, setting

from chat_server.auth import providers as identity_providers
from chat_server.auth.settings import AuthSettings
from chat_server.canary import CanarySettings
from chat_server.files import kinds as file_kinds
from chat_server.files import plugin as files
from chat_server.gateway.settings import GatewaySettings
from chat_server.http.settings import HttpSettings
from chat_server.im.heat import FanoutSettings
from chat_server.im.kinds import BUILT_IN
from chat_server.im.search.settings import SearchSettings
from chat_server.im.service import ImSettings
from chat_server.items.catalogue import BUILT_IN as ITEMS
from chat_server.items.settings import ItemSettings
from chat_server.logic.settings import GroupSettings, UserSettings
from chat_server.logs import LogSettings
from chat_server.moderation.settings import WebhookSettings, WordSettings
from chat_server.pipeline import LimitSettings
from chat_server.push.backends import BACKENDS as PUSH_PROVIDERS
from chat_server.router.settings import PushSettings
from chat_server.rpc.settings import GrpcRpcSettings, RpcDirectorySettings
from chat_server.settings import ServerSettings
from chat_server.store import account_schema, migrate, schema  # noqa: F401  # their tables are in the metadata
from chat_server.store.columns import metadata
from chat_server.store.reports import ReportSettings
from chat_server.store.retention import RetentionSettings
from chat_server.transports.settings import ConnectionSettings


@define(kw_only=True)
class SqliteSettings:
    path: str = setting("", help="The database file; empty: chat.db in the data folder.")
    readers: int = setting(3, help="Threads that read at the same time.")


@define(kw_only=True)
class PostgresSettings:
    url: str = setting(
        help="Such as postgresql://user:password@host/database?sslmode=verify-full; ?pgbouncer=true behind a pooler.",
        secret=True,
    )
    readers: int = setting(8, help="Connections that read at the same time.")


@asynccontextmanager
async def _sqlite(context: Context) -> AsyncIterator[Database]:
    from chat_server.store.sqlite import open_sqlite

    server = await context.get(ServerSettings)
    path = Path(context.settings.path) if context.settings.path else Path(server.data) / "chat.db"
    async with open_sqlite(path, readers=context.settings.readers) as database:
        yield database


@asynccontextmanager
async def _postgresql(context: Context) -> AsyncIterator[Database]:
    from chat_server.store.postgresql import open_postgres

    async with open_postgres(context.settings.url, readers=context.settings.readers) as database:
        yield database


@asynccontextmanager
async def _log_push(context: Context) -> AsyncIterator[PushProvider]:
    from chat_server.router.push import LogPush

    yield LogPush()


@asynccontextmanager
async def _grpc(context: Context) -> AsyncIterator[Rpc]:
    try:
        from chat_server.rpc.grpc_rpc import GrpcRpc
    except ImportError as error:
        raise SetupError("Calls between nodes need an extra: install interesting-chat-server[grpc].") from error
    async with GrpcRpc(context.settings).opened() as rpc:
        yield rpc


@asynccontextmanager
async def _directory_elsewhere(context: Context) -> AsyncIterator[Directory]:
    rpc = await context.get(Rpc)  # type: ignore[type-abstract]
    if not rpc.address:
        raise SetupError('[ports] directory = "rpc" asks another node: set rpc to "grpc" too.')
    from chat_server.rpc import directory
    from chat_server.rpc.grpc_rpc import GrpcRpc

    assert isinstance(rpc, GrpcRpc)
    async with directory.opened(rpc.link(context.settings.address), context.settings.patience) as found:
        yield found


@hookimpl
def chat_backends() -> Sequence[Backend]:
    return [
        Backend(Database, "sqlite", _sqlite, SqliteSettings, "A file, WAL, every commit on disk.", default=True),
        Backend(Database, "postgresql", _postgresql, PostgresSettings, "PostgreSQL through asyncpg."),
        Backend(PushProvider, "log", _log_push, summary="Notes in the log, without their text: for trying out."),
        *PUSH_PROVIDERS,
        *identity_providers.BACKENDS,
        MEMORY_CACHE,
        MEMORY_DIRECTORY,
        Backend(
            Directory,
            "rpc",
            _directory_elsewhere,
            RpcDirectorySettings,
            "In the memory of another node: for the processes of one machine.",
        ),
        DIRECT_RPC,
        Backend(Rpc, "grpc", _grpc, GrpcRpcSettings, "gRPC: between processes, and between machines."),
    ]


@hookimpl
def chat_sections() -> Sequence[Section]:
    return [
        Section("server", ServerSettings, "Address and data folder."),
        Section("gateway", GatewaySettings, "Sessions, windows, heartbeats."),
        Section("im", ImSettings, "Messages."),
        Section("search", SearchSettings, "Search of messages."),
        Section("fanout", FanoutSettings, "Hot rooms and offline push."),
        Section("push", PushSettings, "How offline push is sent."),
        Section("canary", CanarySettings, "A message of each node to itself, to see that messages come."),
        Section("groups", GroupSettings, "Who is put into groups, and into how many."),
        Section("reports", ReportSettings, "Reports of messages and users."),
        Section("retention", RetentionSettings, "How long messages are kept."),
        Section("words", WordSettings, "Lists of sensitive words."),
        Section("webhooks", WebhookSettings, "Programs that are asked before, and told after."),
        Section("users", UserSettings, "Who finds whom, and names."),
        Section("items", ItemSettings, "Items and badges."),
        Section("http", HttpSettings, "What HTTP answers."),
        Section("connections", ConnectionSettings, "What a connection may take."),
        Section("log", LogSettings, "What is logged, and how."),
        Section("limits", LimitSettings, "How much one user may ask for."),
        Section("auth", AuthSettings, "Tokens and login."),
    ]


@hookimpl
def chat_kinds() -> Sequence[ContentKind]:
    return [*BUILT_IN, *file_kinds.KINDS]


@hookimpl
def chat_items() -> Sequence[CatalogueItem]:
    return ITEMS


@hookimpl
def chat_tables() -> Sequence[Tables]:
    return [Tables(migrate.OWNER, metadata, migrate.REVISIONS)]


@hookimpl
def chat_commands(context: Context) -> Sequence[Command]:
    return files.commands(context)


@hookimpl
def chat_tasks(context: Context) -> Sequence[Task]:
    return files.TASKS


@hookimpl
def chat_routes(context: Context) -> Sequence[Any]:
    return files.routes(context)
