"""What one user alone sees: from the topic ``changed`` to pushes with their versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.database import Database
from chat_common.records import Push
from sqlalchemy import Connection

from chat_server.im.log import changes_between
from chat_server.services import Deliver, Delivery
from chat_server.store.topics import Changed

_changed = msgspec.json.Decoder(Changed)


class OwnChanges:
    """The consumer of ``changed``."""

    def __init__(self, database: Database, preview: Callable[[str, Any], str], deliver: Deliver) -> None:
        self._database = database
        self._preview = preview
        self._deliver = deliver

    async def changed(self, records: Sequence[BrokerRecord]) -> None:
        """Push a user's own changes with their versions; one that was changed again since only fills its number."""
        items = [_changed.decode(record.payload) for record in records]

        def rows(connection: Connection) -> list[list[tuple[int, Push]]]:
            return [changes_between(connection, item.user, item.first - 1, item.last, self._preview) for item in items]

        deliveries: list[Delivery] = []
        for item, found in zip(items, await self._database.read(rows), strict=True):
            pushes: dict[int, list[Push]] = {}
            for number, push in found:
                pushes.setdefault(number, []).append(push)
            deliveries.extend(
                Delivery(pushes.get(number, []), {item.user: number}) for number in range(item.first, item.last + 1)
            )
        await self._deliver(deliveries)
