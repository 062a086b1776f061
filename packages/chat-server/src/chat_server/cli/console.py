"""The rooms for a command of the operator: the same use cases as the server's, on the store that it works on.

A running server sees what is done here as it sees the work of another node: it closes ended logins within a second,
and carries out what was committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from attrs import frozen
from chat_common.assembly import Assembly
from chat_common.clock import SystemClock
from chat_common.ports.cache import Cache
from chat_common.ports.database import Database
from chat_common.ports.directory import Directory
from chat_common.ports.identity import IdentityProvider
from chat_common.ports.outbox import Outbox
from chat_common.settings import SetupError

from chat_server.admin.neighbours import FilesOf
from chat_server.cli.choice import Choice
from chat_server.cli.data import data_folder, furnish, is_embedded, load
from chat_server.files.plugin import attachments, files_of
from chat_server.rooms import RoomPorts, Rooms, RoomSettings, build
from chat_server.store import migrate
from chat_server.store.backup import data_lock

T = TypeVar("T")


@frozen
class Console:
    """``by``: whom the audit names. ``files()``: what takes files in, if any package does."""

    rooms: Rooms
    by: str
    files: FilesOf


def on_console(choice: Choice, work: Callable[[Console], Awaitable[T]]) -> T:
    """Run ``work`` on the chosen store, whose tables are made if the embedded one is new."""

    async def run() -> T:
        async with opened(choice) as console:
            return await work(console)

    return asyncio.run(run())


@contextlib.asynccontextmanager
async def opened(choice: Choice) -> AsyncIterator[Console]:
    """The rooms of the chosen store; no gateway, no relay, no background work."""
    plugins, settings = load(choice)
    clock = SystemClock()
    async with Assembly(plugins, settings, clock=clock) as assembly:
        furnish(assembly, settings)
        get: Callable[[Any], Awaitable[Any]] = assembly.get
        database: Database = await get(Database)
        owned = [tables.record for tables in plugins.tables]
        if waiting := await database.read(lambda connection: migrate.pending(connection, owned)):
            if not is_embedded(settings):
                raise SetupError(f"The tables of {', '.join(waiting)} are not up to date: run `chat-server migrate`.")
            # Refused while a server of an older version runs on these tables.
            with data_lock(data_folder(settings)):
                await database.change(lambda connection: migrate.upgrade_all(connection, owned))
        ports = RoomPorts(
            database=database,
            outbox=await get(Outbox),
            directory=await get(Directory),
            cache=await get(Cache),
            clock=clock,
            node=f"console-{secrets.token_hex(4)}",
            kinds={owned.record.name: owned.record for owned in plugins.kinds},
            attachments=await attachments(assembly),
            files=lambda: files_of(assembly),
            items=[owned.record for owned in plugins.items],
            identity_providers=await assembly.all(IdentityProvider),  # type: ignore[type-abstract]
        )
        rooms = await build(ports, RoomSettings.read(settings.section), lambda event, data: None)
        yield Console(rooms, f"console:{operator()}", ports.files)


def operator() -> str:
    """The name of the person at the console, as the operating system knows it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
