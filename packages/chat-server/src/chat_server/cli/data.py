"""The subcommands that change or copy the store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from chat_common.assembly import Assembly
from chat_common.plugins import Plugins
from chat_common.ports.database import Database
from chat_common.ports.files import FileRights
from chat_common.ports.objects import DataFolder
from chat_common.settings import Settings, SetupError
from sqlalchemy import create_engine

from chat_server.auth.public_address import PublicAddress
from chat_server.auth.settings import AuthSettings
from chat_server.cli.choice import Choice
from chat_server.files.rights import SqlFileRights
from chat_server.names.handles import NameRules
from chat_server.settings import ServerSettings
from chat_server.store import backup, epoch, migrate

T = TypeVar("T")


def load(choice: Choice) -> tuple[Plugins, Settings]:
    """The installed plugins and the settings that are meant."""
    plugins = Plugins.load()
    return plugins, Settings.read(plugins.sections(), toml=choice.config, environ=choice.environ)


def data_folder(settings: Settings) -> Path:
    """Where the embedded database and files are."""
    return Path(settings.section("server").data)


def furnish(assembly: Assembly, settings: Settings) -> None:
    """What the composition root provides to the backends."""
    assembly.provide(ServerSettings, settings.section("server"))
    server: ServerSettings = settings.section("server")
    assembly.provide(PublicAddress, PublicAddress(server.public_url, server.host, server.port))
    assembly.provide(NameRules, settings.section("users").rules)
    assembly.provide(AuthSettings, settings.section("auth"))
    assembly.provide(DataFolder, DataFolder(data_folder(settings)))
    assembly.provide(FileRights, SqlFileRights())  # type: ignore[type-abstract]


def is_embedded(settings: Settings) -> bool:
    """Whether the store is the SQLite file."""
    return settings.section("ports").database in (None, "sqlite")


def sqlite_file(choice: Choice) -> Path:
    """The embedded database's file; `SetupError` when another database is chosen."""
    _, settings = load(choice)
    if not is_embedded(settings):
        raise SetupError(
            "This is for the embedded database. For PostgreSQL use its own tools, then `chat-server epoch new`."
        )
    path = settings.section("database.sqlite").path
    return Path(path) if path else data_folder(settings) / "chat.db"


def run_migrations(choice: Choice, sql: bool) -> Sequence[str]:
    """Bring all owners' tables up, or with ``sql`` only tell the statements. Lines to print."""
    plugins, settings = load(choice)
    owned = [tables.record for tables in plugins.tables]

    def work(connection: Any) -> Sequence[str]:
        if not sql:
            done = migrate.upgrade_all(connection, owned)
            return [f"{owner}: at {migrate.current(connection, owner)}" for owner in done] or ["nothing to do"]
        lines: list[str] = []
        for tables in owned:
            if migrate.current(connection, tables.owner) != migrate.head(tables):
                lines.append(f"-- {tables.owner}")
                migrate.upgrade(connection, tables, sql=lines.append)
        return lines or ["-- nothing to do"]

    if sql and is_embedded(settings) and not sqlite_file(choice).exists():
        # Nothing is to be made, not even the empty file.
        with create_engine("sqlite://").connect() as connection:
            return work(connection)
    return _on_database(plugins, settings, work, locked=not sql)


def renew_epoch(choice: Choice) -> str:
    """A new epoch for whichever database is chosen."""
    plugins, settings = load(choice)
    if is_embedded(settings):
        return backup.new_epoch(sqlite_file(choice))
    return _on_database(plugins, settings, epoch.renew, locked=False)


def _on_database(plugins: Plugins, settings: Settings, work: Callable[[Any], T], *, locked: bool) -> T:
    async def run() -> T:
        async with Assembly(plugins, settings) as assembly:
            furnish(assembly, settings)
            database: Database = await assembly.get(Database)  # type: ignore[type-abstract]
            return await database.change(work)

    with contextlib.ExitStack() as stack:
        if locked and is_embedded(settings):
            stack.enter_context(backup.data_lock(data_folder(settings)))
        return asyncio.run(run())
