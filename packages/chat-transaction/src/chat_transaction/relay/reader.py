"""How far the table was read, and when it is read again. No database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from attrs import frozen
from chat_common.clock import Clock

from chat_transaction.relay.alarm import Alarm
from chat_transaction.settings import RelaySettings
from chat_transaction.sql.outbox import OutboxRow
from chat_transaction.sql.queries import Found

_EARLY = 0.005
"""Seconds to wait for the report of a row that is missing between two reported ones, before looking it up."""


@frozen
class Pass:
    """One reading of the table. ``full``: from its first row on; else above ``floor``. ``head`` and ``width`` are the
    reader's when it began, ``mark`` the database's (see `Database.commit_mark`)."""

    full: bool
    floor: int
    head: int
    width: int
    mark: int | None = None


class Reader:
    """Rows come in two ways, and in one order. *Reported*: `report` lets rows pass whose numbers follow the last one
    without a gap; nothing is read. *Scanned*: at start, after a gap, when something was left in the table, and every
    ``scan_interval``, the table is read; where the database can tell that nothing was committed since it was found
    empty of rows, that is left out.

    Every row up to ``head`` was handed over, or left in the table on purpose (a `Backlog`); unless the reader is
    *behind*: then only a scan knows.
    """

    def __init__(
        self, clock: Clock, settings: RelaySettings, commit_mark: Callable[[], int | None] = lambda: None
    ) -> None:
        self._clock = clock
        self._commit_mark = commit_mark
        self._nothing_at: int | None = None  # The mark under which the whole table was read, and nothing was ready.
        self._next_due: int | None = None
        self._settings = settings
        self._head = 0
        self._floor = 0
        self._behind = True
        self._early: dict[int, OutboxRow] = {}
        self._gap: asyncio.TimerHandle | None = None
        self._width = 0
        self._full = True
        self._full_at = 0.0
        self._asked = asyncio.Event()
        self._alarm = Alarm(clock, self.wake)

    @property
    def is_behind(self) -> bool:
        return self._behind

    # --- reports ------------------------------------------------------------------------------------------------

    def report(self, rows: Sequence[OutboxRow], known: Collection[int]) -> Sequence[OutboxRow]:
        """Returns what follows the last row without a gap; keeps the rest until the gap is closed."""
        early, head = self._early, self._head
        ready: list[OutboxRow] = []
        for row in rows:
            if row.id == head + 1 and not self._behind:
                head += 1
                ready.append(row)
                while early and (following := early.pop(head + 1, None)) is not None:
                    head += 1
                    ready.append(following)
            elif row.id > head:
                early[row.id] = row
            elif row.id not in known:
                # Numbered earlier, committed later: only the table knows whether it was run already.
                self.wake()
        self._head = head
        if early:
            if self._behind:
                self._asked.set()
                if len(early) > self._settings.capacity:
                    early.clear()
            elif self._gap is None:
                self._gap = asyncio.get_running_loop().call_later(_EARLY, self._look_up_gap)
        return ready

    def early(self) -> Sequence[OutboxRow]:
        """After a pass: the rows that were reported above what it has covered, in order, to be reported again."""
        if self._behind or not self._early:
            return ()
        rows = [self._early.pop(id) for id in sorted(self._early)]
        return [row for row in rows if row.id > self._head]

    def _look_up_gap(self) -> None:
        self._gap = None
        if self._early:
            self._behind = True
            self._asked.set()

    # --- when to read -------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Read the whole table now: somebody else wrote, or something that was left there may go on."""
        self._full = True
        self._asked.set()

    def look(self) -> None:
        """Read what is new now: somebody else says that there is something."""
        self._asked.set()

    def wake_at(self, wall_ms: int) -> None:
        """The same then (ms since 1970); the earliest of all these times counts."""
        self._alarm.at(wall_ms)

    def widen(self) -> None:
        """There are more shards or topics than before. Rows of theirs lie below ``head``, so nothing reported passes
        before a pass over them all; one that is under way did not ask for them, and does not count."""
        self._width += 1
        self._behind = True
        self.wake()

    async def wait(self, *, alone: bool, idle: int, busy: bool = False) -> None:
        """Until the next pass is due. ``alone``: no other relay lives; ``idle``: so many passes have found nothing;
        ``busy``: rows are in flight, of which the passes find out what has become of them."""
        settings = self._settings
        # Beside other relays the table is looked at often, because their writers report to them and not to us; less
        # often, up to four times, while there is nothing to find.
        often = settings.shared_scan_interval * min(4, 1 + idle)
        seconds = settings.scan_interval if alone else min(often, settings.scan_interval)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._asked.wait()
            if busy or self._asked.is_set() or not self._is_still():
                break
        self._full = self._full or self._clock.monotonic() - self._full_at >= settings.scan_interval * 0.9
        self._asked.clear()

    def _is_still(self) -> bool:
        """Whether a pass over the whole table would find nothing, as the last one did."""
        mark = self._commit_mark()
        due = self._next_due is not None and self._next_due <= self._clock.wall_ms()
        return not (self._behind or due or mark is None or mark != self._nothing_at)

    def stop(self) -> None:
        self._alarm.off()

    # --- passes -------------------------------------------------------------------------------------------------

    def begin(self) -> Pass:
        full, self._full = self._full, False
        if full:
            self._full_at = self._clock.monotonic()
        return Pass(full, 0 if full else self._floor, self._head, self._width, self._commit_mark())

    def is_valid(self, scan: Pass) -> bool:
        """False: there is more to look at by now, see `widen`, which has asked for the next pass."""
        return scan.width == self._width

    def end(self, scan: Pass, found: Found) -> Sequence[OutboxRow]:
        """The rows that the pass has found, with the inline payloads of those that were reported meanwhile."""
        for row in found.rows:
            reported = self._early.pop(row.id, None)
            if reported is not None:
                row.record = reported.record
        if found.complete:
            self._behind = False
            self._head = max(self._head, found.top)
            if scan.full:
                # A row becomes visible when it is committed, which is not the order of the numbers. So a quick pass
                # looks back to where the head was when the last full one began that found anything.
                self._floor = scan.head if found.rows else self._head
        else:
            self._behind = True
            self._full = self._full or scan.full
            self._asked.set()
        if scan.full:
            self._nothing_at = None if found.rows else scan.mark
            self._next_due = found.next_due
        if found.next_due is not None:
            self._alarm.at(found.next_due)
        return found.rows
