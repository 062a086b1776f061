"""What one user alone sees: from the topic ``changed`` to pushes with their versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.database import Database
from chat_common.records import Push
from sqlalchemy import Connection, select

from chat_server.im.log import changes_between
from chat_server.services import Deliver, Delivery
from chat_server.store import epoch
from chat_server.store.schema import version
from chat_server.store.statements import CompiledStatement, any_of, texts
from chat_server.store.topics import Changed

_changed = msgspec.json.Decoder(Changed)
_NEWEST = CompiledStatement(select(version.c.user, version.c.version).where(any_of(version.c.user, "users_")), "users_")


class OwnChanges:
    """The consumer of ``changed``."""

    def __init__(self, database: Database, preview: Callable[[str, Any], str], deliver: Deliver) -> None:
        self._database = database
        self._preview = preview
        self._deliver = deliver

    async def changed(self, records: Sequence[BrokerRecord]) -> None:
        """Push a user's own changes with their versions; one that was changed again since only fills its number."""
        items = [_changed.decode(record.payload) for record in records]

        def rows(connection: Connection) -> tuple[str, dict[str, int], list[list[tuple[int, Push]]]]:
            newest = {user: number for user, number in _NEWEST.all(connection, texts(connection, users))}
            found = [changes_between(connection, item.user, item.first - 1, item.last, self._preview) for item in items]
            return epoch.read(connection), newest, found

        users = {item.user for item in items}
        now, newest, read = await self._database.read(rows)
        deliveries: list[Delivery] = []
        for item, found in zip(items, read, strict=True):
            pushes: dict[int, list[Push]] = {}
            for number, push in found:
                pushes.setdefault(number, []).append(push)
            # A version that the user has not reached was taken before a restore: there it would hide a later change.
            last = min(item.last, newest.get(item.user, 0))
            deliveries.extend(
                Delivery(pushes.get(number, []), {item.user: number}, epoch=now)
                for number in range(item.first, last + 1)
            )
        await self._deliver(deliveries)
