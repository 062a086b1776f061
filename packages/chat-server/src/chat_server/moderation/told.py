"""The webhook after: another program is told of every message that was stored or changed, in order per conversation.

It consumes the topic ``stored`` in a group of its own, so that nothing is lost over a restart of either side. What is
told is the newest state of each message; one that changes again before it is told is told once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from attrs import define
from chat_common import wire
from chat_common.ports.broker import BrokerRecord, NotHandled
from chat_common.records import Consumer
from sqlalchemy import Connection, select

from chat_server.moderation.sender import Sender
from chat_server.store import epoch, pages, views
from chat_server.store.executor import CommandExecutor
from chat_server.store.schema import message
from chat_server.store.topics import STORED, Stored

BATCH = 50
SIDE_BY_SIDE = 8
"""Conversations that are told of at the same time."""


@define(kw_only=True)
class Told:
    """What is sent: the messages of ``conversation`` whose newest change lies from ``first`` to ``last`` (revs)."""

    type: str = "messages"
    conversation: str
    first: int
    last: int
    messages: list[wire.Message]


@define
class _Page:
    name: str
    told: Told


class Teller:
    """The consumer."""

    def __init__(self, sender: Sender, attempts: int, executor: CommandExecutor) -> None:
        self._sender, self._attempts, self._executor = sender, attempts, executor

    def consumer(self) -> Consumer:
        """What runs it. A conversation whose delivery is given up is parked: order is kept."""
        return Consumer(STORED, "webhooks", self.stored, batch=BATCH, attempts=self._attempts, on_failure="park")

    async def stored(self, records: Sequence[BrokerRecord]) -> None:
        """Tell of these records; `NotHandled` names those that were not taken, and what waits behind them."""
        by_key: dict[str, list[BrokerRecord]] = {}
        for record in records:
            by_key.setdefault(record.key, []).append(record)
        places = asyncio.Semaphore(SIDE_BY_SIDE)
        failed: list[BrokerRecord] = []
        later: list[BrokerRecord] = []
        errors: dict[str, Exception] = {}

        async def in_order(chain: Sequence[BrokerRecord]) -> None:
            async with places:
                for number, record in enumerate(chain):
                    try:
                        await self._tell(msgspec.json.decode(record.payload, type=Stored))
                    except Exception as error:  # any: what went out for the other conversations must not come again
                        failed.append(record)
                        later.extend(chain[number + 1 :])
                        errors[record.id] = error
                        return

        async with asyncio.TaskGroup() as group:
            for chain in by_key.values():
                group.create_task(in_order(chain))
        if failed:
            raise NotHandled(failed, later, errors=errors)

    async def _tell(self, stored: Stored) -> None:
        after = stored.first - 1
        while after < stored.last:
            page = await self._executor.database.read(lambda connection: self._page(connection, stored, after))  # noqa: B023
            if page.told.messages:
                await self._sender.post(page.name, msgspec.json.encode(page.told))
            after = page.told.last

    def _page(self, connection: Connection, stored: Stored, after: int) -> _Page:
        rows = connection.execute(
            select(message)
            .where(
                message.c.conversation == stored.conversation,
                message.c.rev > after,
                message.c.rev <= stored.last,
            )
            .order_by(message.c.rev)
            .limit(pages.MOST)
        ).all()
        shown = pages.within_bytes(list(rows))
        whole = len(rows) < pages.MOST and len(shown) == len(rows)
        last = stored.last if whole else shown[-1].rev
        told = Told(
            conversation=stored.conversation,
            first=after + 1,
            last=last,
            messages=views.message_records(connection, shown, self._executor.preview),
        )
        # Of what it covers, not of the attempt: who has taken a delivery with this id has taken those changes.
        return _Page(f"{epoch.read(connection)}.{stored.conversation}.{after + 1}-{last}", told)
