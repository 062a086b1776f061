"""``chat-server check``: what would keep the server from running."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import evolve
from chat_common.assembly import Assembly
from chat_common.clock import Clock, SystemClock
from chat_common.errors import ChatError
from chat_common.plugins import Plugins, port_name
from chat_common.ports.database import Database
from chat_common.ports.files import Files
from chat_common.settings import Settings, SetupError

from chat_server.cli import surroundings
from chat_server.cli.choice import Choice
from chat_server.cli.data import data_folder, furnish, is_embedded, load, sqlite_file
from chat_server.store import first_handles, migrate
from chat_server.transports.admission import RESERVE, file_limit
from chat_server.transports.settings import ConnectionSettings

PATIENCE = 10.0
NAMED = 10
"""Login names that one line gives."""


def problems(choice: Choice, clock: Clock | None = None) -> Sequence[str]:
    """A line for each problem; none: it could run. Raises `SetupError` where nothing more can be looked at. ``clock``:
    of this machine."""
    clock = clock or SystemClock()
    from chat_server.server import Server

    Server(config=choice.config, environ=choice.environ)
    settings = load(choice)[1]
    folder = data_folder(settings)
    if folder.exists() and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        return [f"server.data: {folder} is no folder that the user who runs this can write to"]
    found = [
        *surroundings.disk(folder, settings.section("server").min_free),
        *surroundings.file_times(folder, clock),
        *surroundings.foreign_modes(folder),
    ]
    if is_embedded(settings) and not sqlite_file(choice).exists():
        # The database is made at the first start; looking must not make it.
        with TemporaryDirectory() as empty:
            environ = {"CHAT__DATABASE__SQLITE__PATH": str(Path(empty) / "chat.db")}
            return [*found, *asyncio.run(_look(*load(evolve(choice, data=empty, more=environ)), clock))]
    return [*found, *asyncio.run(_look(*load(choice), clock))]


def notes(choice: Choice) -> Sequence[str]:
    """What opening the store will change, a line each: to be asked before `problems`."""
    return surroundings.modes(data_folder(load(choice)[1]))


def connections(choice: Choice) -> str:
    """How many connections there can be, and why not more: for an operator who wonders."""
    settings: ConnectionSettings = load(choice)[1].section("connections")
    files = file_limit()
    if files is None or files - RESERVE >= settings.max_connections:
        return f"connections: {settings.max_connections} at most"
    return (
        f"connections: {max(1, files - RESERVE)} at most, since this process may open {files} files; [connections]"
        f" max_connections is {settings.max_connections}: for as many raise the limit (systemd: LimitNOFILE=)"
    )


def files(choice: Choice) -> str:
    """How much users keep, and for how much more there is room."""
    plugins, settings = load(choice)
    if Files not in plugins.ports():
        return "files: none, the package interesting-chat-oss is not installed"
    if is_embedded(settings) and not sqlite_file(choice).exists():
        return "files: none yet"
    return asyncio.run(_files(plugins, settings))


async def _files(plugins: Plugins, settings: Settings) -> str:
    async with Assembly(plugins, settings) as assembly:
        furnish(assembly, settings)
        database = await assembly.get(Database)  # type: ignore[type-abstract]
        owned = [tables.record for tables in plugins.tables]
        if await database.read(lambda connection: migrate.pending(connection, owned)):
            return "files: not counted before the tables are up to date"
        found = await (await assembly.get(Files)).room()  # type: ignore[type-abstract]
    most = f" of {found.total}" if found.total else ""
    return f"files: {found.kept}{most} bytes kept" + ("" if found.free is None else f", room for {found.free} more")


def handles(choice: Choice) -> Sequence[str]:
    """A line about accounts from before there were login names that did not get their own; none: there are none."""
    plugins, settings = load(choice)
    if is_embedded(settings) and not sqlite_file(choice).exists():
        return []
    return asyncio.run(_handles(plugins, settings))


async def _handles(plugins: Plugins, settings: Settings) -> Sequence[str]:
    async with Assembly(plugins, settings) as assembly:
        furnish(assembly, settings)
        database = await assembly.get(Database)  # type: ignore[type-abstract]
        owned = [tables.record for tables in plugins.tables]
        if await database.read(lambda connection: migrate.pending(connection, owned)):
            return []
        moved = await database.read(lambda connection: first_handles.moved(connection, NAMED + 1))
    if not moved:
        return []
    named = ", ".join(f"@{each}" for each in moved[:NAMED])
    more = " and others" if len(moved) > NAMED else ""
    return [
        f"login names: {named}{more} were given to accounts whose own was taken, or looked like another's;"
        f" they log in as before, and `chat-server audit --act {first_handles.ACT}` lists them"
    ]


async def _look(plugins: Plugins, settings: Settings, clock: Clock) -> list[str]:
    found: list[str] = []
    async with Assembly(plugins, settings) as assembly:
        furnish(assembly, settings)
        try:
            plugins.contributions(assembly.context)
        except SetupError as error:
            found.append(str(error))
        for port in plugins.ports():
            try:
                async with asyncio.timeout(PATIENCE):
                    for name, backend in (await assembly.all(port)).items():
                        ready = getattr(backend, "ready", None)
                        if ready is not None:
                            await ready()
                        if port is Database:
                            found += await _tables(plugins, backend, name)
                            found += await surroundings.database_clock(backend, name, clock)
            except TimeoutError:
                found.append(f"{port_name(port)}: no answer within {PATIENCE:g} s")
            except (SetupError, ChatError, OSError) as error:
                # What clients are not told, an operator is: which database, which user, which certificate.
                cause = str(error.__cause__ or "").strip().partition("\n")[0]
                found.append(f"{port_name(port)}: {error}" + (f" ({cause})" if cause else ""))
    return found


async def _tables(plugins: Plugins, database: Database, name: str) -> list[str]:
    owned = [tables.record for tables in plugins.tables]
    waiting = await database.read(lambda connection: migrate.pending(connection, owned))
    if waiting:
        if database.dialect == "sqlite":
            return []  # The embedded database is brought up at the start.
        return [f"database.{name}: the tables of {', '.join(waiting)} are not up to date: run `chat-server migrate`"]
    damaged = await database.read(lambda connection: migrate.damage(connection, owned))
    return [f"database.{name}: {each}" for each in damaged]
