"""What a server stands on: whether it is ready, and its tables brought up at the start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from chat_common.ports.broker import Broker
from chat_common.ports.database import Database
from chat_common.records import Tables
from chat_common.settings import SetupError

from chat_server.http.status import Check
from chat_server.nodes import Nodes
from chat_server.settings import ServerSettings
from chat_server.store import migrate
from chat_server.store.disk import check_room


@frozen
class Readiness:
    """The parts of ``/readyz``. ``nodes`` None: the server is alone."""

    settings: ServerSettings
    database: Database
    broker: Broker
    nodes: Nodes | None

    def checks(self) -> Mapping[str, Check]:
        """Each raises when its part is not ready."""
        alone = {"database": self._database, "broker": self.broker.ready, "disk": self._disk}
        return alone if self.nodes is None else {**alone, "node": self.nodes.ready}

    async def _database(self) -> None:
        await self.database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar_one())

    async def _disk(self) -> None:
        await asyncio.to_thread(check_room, Path(self.settings.data), self.settings.min_free)


async def bring_up_tables(database: Database, owned: Sequence[Tables]) -> None:
    """Bring the tables of a database of our own to their newest revisions; `SetupError` for one that others use too."""
    waiting = await database.read(lambda connection: migrate.pending(connection, owned))
    if not waiting:
        return
    if database.dialect != "sqlite":
        raise SetupError(f"The tables of {', '.join(waiting)} are not up to date: run `chat-server migrate`.")

    def upgrade(connection: Any) -> None:
        migrate.refuse_foreign(connection, owned)
        migrate.upgrade_all(connection, owned)

    await database.change(upgrade)
