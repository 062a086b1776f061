"""What a relay has to tell the table: collected, and written in batches that join other commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from chat_common.ports.database import Database

from chat_transaction.sql import settling
from chat_transaction.sql.outbox import OutboxRow
from chat_transaction.sql.registry import Registered
from chat_transaction.sql.settling import Retained, Settlement

_MANY = 1_000


class Settlements:
    """``circumstances`` gives the groups and fences under which rows are handed over at this moment.

    What is told is tied to the circumstances that it happened under: `collect` closes what was told so far, and must be
    called before they change; a row that was handled under a fence that is gone by now must not be settled under a new
    one. A number counts as settled only once its deletion is committed (`take_settled`), because until then a scan may
    still see the row; where writing fails, everything goes back to be written again, in its order.
    """

    def __init__(
        self, database: Database, interval: float, circumstances: Callable[[], tuple[Registered, Mapping[int, int]]]
    ) -> None:
        self._database = database
        self._interval = interval
        self._circumstances = circumstances
        self._done: list[int] = []
        self._retained: list[Retained] = []
        self._over: list[int] = []
        self._unsettled: list[Settlement] = []
        self._settled: list[int] = []
        self._begun = 0
        self._rounds = 0
        self._some = asyncio.Event()
        self._many = asyncio.Event()
        self._turn = asyncio.Lock()
        self._apply = settling.settle

    @property
    def rounds(self) -> int:
        """The last round of writing that is in the table."""
        return self._rounds

    @property
    def next_round(self) -> int:
        """The one that will write what is told now."""
        return self._begun + 1

    def finish(self, row: OutboxRow) -> None:
        """It is no longer in flight: every group that was to get it here has handled or parked it."""
        if row.retained is None and not row.settled and row.attempts is None:
            self._done.append(row.id)
            self._some.set()
        else:
            self.retain(standing(row), over=True)
        if len(self._done) >= _MANY:
            self._many.set()

    def retain(self, retained: Retained, *, over: bool = False) -> None:
        """Where the groups of a row stand; ``over``: it is not in flight any more."""
        self._retained.append(retained)
        if over:
            self._over.append(retained.id)
        self._some.set()

    def collect(self) -> None:
        """Close what there is so far, before the circumstances change."""
        if self._done or self._retained:
            registered, fences = self._circumstances()
            runs = settling.runs(self._done)
            self._unsettled.append(Settlement(runs, tuple(self._retained), registered, dict(fences)))
            self._over += self._done
            self._done, self._retained = [], []

    async def write(self) -> None:
        """Returns once everything that was told before is in the table."""
        async with self._turn:
            self.collect()
            over, self._over = self._over, []
            unsettled, self._unsettled = self._unsettled, []
            self._begun = begun = self._begun + 1
            try:
                while unsettled:
                    await self._database.change_many(self._apply, unsettled[0])
                    del unsettled[0]
            except BaseException:
                self._over = over + self._over
                self._unsettled = unsettled + self._unsettled
                self._some.set()
                raise
            self._settled += over
            self._rounds = begun

    def take_settled(self) -> list[int]:
        """The rows that were in flight, and that the table now knows to be over, since the last call."""
        settled, self._settled = self._settled, []
        return settled

    async def writing(self) -> None:
        """For ever: soon after something was told, together with what follows within the interval."""
        while True:
            await self._some.wait()
            try:
                async with asyncio.timeout(self._interval):
                    await self._many.wait()
            except TimeoutError:
                pass
            self._some.clear()
            self._many.clear()
            await self.write()


def standing(row: OutboxRow) -> Retained:
    """Where the groups of a row in flight stand."""
    return Retained(row.id, row.shard, frozenset(row.handled or ()), dict(row.retained or {}))
