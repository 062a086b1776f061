from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from chat_common.clock import ManualClock
from chat_common.ports.broker import BrokerRecord
from chat_transaction.relay.reader import Pass, Reader
from chat_transaction.settings import RelaySettings
from chat_transaction.sql.outbox import OutboxRow
from chat_transaction.sql.queries import Found


def rows(*numbers: int) -> list[OutboxRow]:
    return [OutboxRow(number, 0, 0, BrokerRecord("orders", "k", b"", f"u{number}")) for number in numbers]


def numbers(found: Sequence[OutboxRow]) -> list[int]:
    return [row.id for row in found]


def found(*ids: int, top: int, complete: bool = True) -> Found:
    return Found(rows(*ids), complete, top, None, (), None)


def level(top: int = 0, **settings: float) -> Reader:
    """A reader that has read everything up to ``top``."""
    reader = Reader(ManualClock(), RelaySettings(**settings))  # type: ignore[arg-type]
    reader.end(reader.begin(), found(top=top))
    assert not reader.is_behind
    return reader


def test_nothing_reported_passes_before_the_first_pass() -> None:
    reader = Reader(ManualClock(), RelaySettings())
    assert reader.report(rows(1, 2), set()) == []
    scan = reader.begin()
    assert scan.full
    assert numbers(reader.end(scan, found(1, top=1))) == [1]
    assert numbers(reader.early()) == [2], "reported above what the pass has covered"
    assert reader.early() == ()


async def test_a_row_that_comes_too_early_waits_for_the_one_before_it() -> None:
    reader = level(10)
    assert reader.report(rows(12), set()) == []
    assert numbers(reader.report(rows(11), set())) == [11, 12]


async def test_a_gap_that_stays_is_looked_up() -> None:
    """Its writer may report it to nobody, or have rolled it back."""
    reader = level(10)
    reader.report(rows(12), set())
    async with asyncio.timeout(5):
        await reader.wait(alone=True, idle=0)
    assert reader.is_behind
    scan = reader.begin()
    assert not scan.full
    assert numbers(reader.end(scan, found(11, 12, top=12))) == [11, 12]
    assert reader.early() == ()


def test_a_late_commit_of_a_small_number_asks_for_a_full_pass_unless_it_is_known() -> None:
    reader = level(10)
    assert reader.report(rows(9), {9}) == []
    assert not reader.begin().full
    assert reader.report(rows(9), set()) == []
    assert reader.begin().full


def test_a_pass_that_could_not_read_all_is_followed_by_another_full_one() -> None:
    reader = level(10)
    reader.wake()
    assert numbers(reader.end(reader.begin(), found(11, top=11, complete=False))) == [11]
    assert reader.is_behind
    assert reader.report(rows(12), set()) == []
    assert reader.begin().full


def test_quick_passes_look_back_to_where_the_last_full_one_began() -> None:
    """What it found shows that numbers may become visible late."""
    reader = level(10)
    reader.wake()
    assert reader.begin() == Pass(full=True, floor=0, head=10, width=0)
    reader.end(Pass(full=True, floor=0, head=10, width=0), found(11, 12, top=12))
    assert reader.begin() == Pass(full=False, floor=10, head=12, width=0)


def test_a_pass_that_began_before_there_were_more_shards_does_not_count() -> None:
    reader = level(10)
    scan = reader.begin()
    reader.widen()
    assert not reader.is_valid(scan)
    assert reader.report(rows(11), set()) == [], "older rows of the new shards come first"
    again = reader.begin()
    assert again.full
    assert reader.is_valid(again)


def test_a_reported_row_that_a_pass_brings_keeps_its_inline_payload() -> None:
    reader = Reader(ManualClock(), RelaySettings())
    (reported,) = rows(1)
    reader.report([reported], set())
    (brought,) = reader.end(reader.begin(), found(1, top=1))
    assert brought is not reported
    assert brought.record is reported.record


@pytest.mark.parametrize("change", ["a commit", "a due row", "a wake", "rows in flight"])
async def test_where_nothing_was_committed_the_table_is_not_read(change: str) -> None:
    mark, asked, clock = 7, 0, ManualClock()
    often = asyncio.Event()

    def commit_mark() -> int:
        nonlocal asked
        asked += 1
        if asked > 20:
            often.set()
        return mark

    reader = Reader(clock, RelaySettings(scan_interval=0.001), commit_mark)
    due = clock.wall_ms() + 60_000
    reader.end(reader.begin(), Found([], True, 0, due, (), None))
    waiting = asyncio.ensure_future(reader.wait(alone=True, idle=0, busy=change == "rows in flight"))
    if change != "rows in flight":
        async with asyncio.timeout(5):
            await often.wait()
        assert not waiting.done(), "intervals have gone by, and nothing is read"
    if change == "a commit":
        mark += 1
    elif change == "a due row":
        clock.advance(60)
    elif change == "a wake":
        reader.look()
    async with asyncio.timeout(5):
        await waiting
    reader.stop()


async def test_a_pass_that_has_found_rows_is_followed_by_another_one() -> None:
    """What it brought may stay in the table."""
    clock = ManualClock()
    reader = Reader(clock, RelaySettings(scan_interval=0.001), lambda: 7)
    reader.end(reader.begin(), found(1, top=1))
    clock.advance(1)
    async with asyncio.timeout(5):
        await reader.wait(alone=True, idle=0)
    reader.end(reader.begin(), found(top=1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await reader.wait(alone=True, idle=0)
