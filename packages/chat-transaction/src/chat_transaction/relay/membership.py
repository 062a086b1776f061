"""This relay among the others: which shards are its own, and which groups count."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial

from chat_common.ports.database import Database

from chat_transaction.relay.groups import Census
from chat_transaction.relay.in_flight import InFlight
from chat_transaction.relay.intake import Intake
from chat_transaction.relay.ledger import OwnersLedger
from chat_transaction.relay.ownership import Ownership
from chat_transaction.relay.reader import Reader
from chat_transaction.relay.settlements import Settlements
from chat_transaction.relay.transport import Transport
from chat_transaction.sql import queries, settling
from chat_transaction.sql.fencing import Fence
from chat_transaction.sql.registry import Capabilities
from chat_transaction.sql.settling import Retained
from chat_transaction.sql.tables import SHARDS


class Membership:
    """Every change of shards and groups passes here, one at a time, and in one order: what was handled so far is
    settled under the circumstances that it was handled under, then these change, then the table is read again.
    """

    def __init__(  # eight parts, because each of them depends on who owns what
        self,
        database: Database,
        ownership: Ownership,
        in_flight: InFlight,
        settlements: Settlements,
        transport: Transport,
        intake: Intake,
        ledger: OwnersLedger,
        reader: Reader,
    ) -> None:
        self._database = database
        self._ownership = ownership
        self._in_flight = in_flight
        self._settlements = settlements
        self._transport = transport
        self._groups = transport.groups
        self._intake = intake
        self._ledger = ledger
        self._reader = reader
        self.capabilities = Capabilities()
        self._turn = asyncio.Lock()
        self._returned = asyncio.Event()

    async def renew(self) -> None:
        """Renew the leases, take and give back shards, and see which groups there are."""
        async with self._turn:
            releasing = self._ownership.releasable({row.shard for row in self._in_flight.rows.values()})
            if releasing:
                # What was handled of these is in the table before their next owner reads it.
                await self._settlements.write()
            renewal = await self._ownership.renew(self.capabilities, releasing)
            self._lose(self._ownership.lost(renewal))
            census = await self._groups.count(self.capabilities, renewal.live, renewal.open)
            self._adopt(census)
            gains = self._ownership.gains(renewal)
            if gains:
                # Before any row of theirs goes: what their last owner has parked stays parked.
                self._ledger.learn(await self._database.read(queries.parked_heads))
            self._ownership.adopt(renewal)
            if gains:
                self._reader.widen()

    def fence(self) -> Fence | None:
        """Under which rows may be run now; None: this process was stopped for too long to know, and owns nothing until
        the next renewal."""
        fence = self._ownership.fence()
        if fence is None:
            self._lose(range(SHARDS))
        return fence

    def _lose(self, shards: Collection[int]) -> None:
        """These may be another relay's now: forget their rows; what is queued of them is not accepted."""
        if shards:
            self._settlements.collect()  # before the fences go that it was done under
            self._ownership.lose(shards)
            for row in self._in_flight.of_shards(shards):
                self._transport.drop(row)

    def _adopt(self, census: Census) -> None:
        if self._groups.differ(census):
            # What was handled until here was handled for the groups that counted until here.
            self._settlements.collect()
            if not census.running.keys() <= self._groups.running.keys():
                self._reader.widen()
            for row, groups in self._groups.adopt(census, self._in_flight.rows.values()):
                # A local row says so itself when it is finished; one that a broker has may be finished elsewhere.
                if not self._transport.is_local(row.record.topic):
                    self._settlements.retain(Retained(row.id, row.shard, retained=dict.fromkeys(groups)))
        if census.returned:
            self._intake.close(census.returned)
            self._returned.set()

    def drained(self, topic: str) -> None:
        """Nothing of the topic is in flight any more."""
        if topic in self._intake.closed:
            self._returned.set()

    async def reviving(self) -> None:
        """For ever: rows that stayed for an absent group go on, once nothing of their topic is in flight, which would
        overtake them. A key that fails meanwhile is not waited for, and no broker is: all that is read again, in order.
        """
        while True:
            await self._returned.wait()
            self._returned.clear()
            async with self._turn:
                for row in self._in_flight.of_topics(self._intake.closed):
                    topic, key = row.record.topic, row.record.key
                    if not self._transport.is_local(topic) or (topic, key) in self._ledger.failing:
                        self._transport.drop(row)
                if topics := self._intake.drained(self._in_flight.counts):
                    # What was handled is in the table first, or it would be revived together with what was not.
                    await self._settlements.write()
                    shards, running = tuple(self._ownership.open), self._groups.running
                    revive = partial(settling.revive, topics=topics, groups=running, shards=shards)
                    await self._database.change(revive)
                    self._intake.reopen(topics)
                    self._reader.wake()
