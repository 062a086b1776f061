"""The transaction runner: what one commit holds, what a failure takes with it, what a reader sees."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from chat_common.errors import Conflict, Unavailable
from chat_server.store.database import SqlDatabase
from chat_server.store.schema import meta
from chat_server.store.sqlite import SqliteDatabase
from chat_server.store.writer import BATCH, after_commit
from sqlalchemy import event, insert, select, text
from sqlalchemy.exc import OperationalError

from tests.chat_server.house import Store


@pytest.fixture
async def database(store: Store) -> AsyncIterator[SqlDatabase]:
    async with store.open() as database:
        yield database


def put(connection: Any, key: str) -> str:
    connection.execute(insert(meta), {"key": key, "value": key})
    return key


async def keys(database: SqlDatabase) -> set[str]:
    return set(await database.read(lambda connection: connection.execute(select(meta.c.key)).scalars().all()))


def commits(database: SqlDatabase) -> list[int]:
    """Counts the commits of writers from now on."""
    seen: list[int] = []
    engine = database.writer_engine if isinstance(database, SqliteDatabase) else database.engine.sync_engine  # type: ignore[attr-defined]
    event.listen(engine, "commit", lambda connection: seen.append(1))
    return seen


async def test_what_waits_is_one_transaction(database: SqlDatabase) -> None:
    seen = commits(database)
    await asyncio.gather(*(database.change(lambda connection, key=f"k{i}": put(connection, key)) for i in range(50)))  # type: ignore[misc]
    assert len(seen) <= 2
    assert len(await keys(database)) == 50


async def test_no_batch_is_larger_than_the_limit(database: SqlDatabase) -> None:
    sizes: list[int] = []

    def apply(connection: Any, items: Sequence[str]) -> Sequence[str]:
        sizes.append(len(items))
        return [put(connection, item) for item in items]

    count = 2 * BATCH + 1
    results = await asyncio.gather(*(database.change_many(apply, f"k{i}") for i in range(count)))
    assert results == [f"k{i}" for i in range(count)]
    assert max(sizes) == BATCH
    assert sum(sizes) == count
    assert len(await keys(database)) == count


async def test_one_bad_item_is_found_and_fails_alone(database: SqlDatabase) -> None:
    sizes: list[int] = []

    def apply(connection: Any, items: Sequence[int]) -> Sequence[Any]:
        sizes.append(len(items))
        for item in items:
            put(connection, f"k{item}")
        if 37 in items:
            raise ValueError("item 37")
        return [Conflict("polite") if item == 5 else item for item in items]

    results = await asyncio.gather(*(database.change_many(apply, i) for i in range(64)), return_exceptions=True)
    assert [number for number, result in enumerate(results) if isinstance(result, ValueError)] == [37]
    assert isinstance(results[5], Conflict)
    assert len(sizes) < 20, "halved, not one by one"
    assert await keys(database) == {f"k{i}" for i in range(64) if i != 37}


async def test_a_job_that_raises_leaves_nothing_and_its_neighbours_stay(database: SqlDatabase) -> None:
    called: list[str] = []

    def job(key: str, bad: bool) -> Callable[[Any], str]:
        def work(connection: Any) -> str:
            after_commit(connection, lambda: called.append(key))
            put(connection, key)
            if bad:
                connection.execute(text("SELECT nonsense FROM nowhere"))
            return key

        return work

    results: list[Any] = await asyncio.gather(
        *(database.change(job(f"k{i}", i % 3 == 1)) for i in range(9)), return_exceptions=True
    )
    assert all(isinstance(results[i], Unavailable) for i in (1, 4, 7)), "a vendor's exception never crosses the port"
    good = [f"k{i}" for i in range(9) if i % 3 != 1]
    assert await keys(database) == set(good)
    assert called == good


async def test_after_commit_runs_on_the_loop_before_the_caller_goes_on_and_sees_it_committed(
    database: SqlDatabase,
) -> None:
    order: list[Any] = []

    def work(connection: Any) -> None:
        put(connection, "k")
        after_commit(connection, lambda: order.append(threading.current_thread() is threading.main_thread()))
        order.append("work")

    await database.change(work)
    order.append("caller")
    assert order == ["work", True, "caller"]


async def test_a_failing_commit_answers_unavailable_and_the_next_one_works(database: SqlDatabase) -> None:
    called: list[int] = []
    engine = database.writer_engine if isinstance(database, SqliteDatabase) else database.engine.sync_engine  # type: ignore[attr-defined]
    failing = True

    def fail(connection: Any) -> None:
        if failing:
            raise OperationalError("COMMIT", None, sqlite3.OperationalError("disk I/O error"))

    event.listen(engine, "commit", fail)

    def work(connection: Any) -> None:
        put(connection, "k")
        after_commit(connection, lambda: called.append(1))

    outcomes = await asyncio.gather(*(database.change(work) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert not called
    failing = False
    assert await keys(database) == set()
    await database.change(work)
    assert called == [1]
    assert await keys(database) == {"k"}


async def test_a_cancelled_caller_takes_nothing_back(database: SqlDatabase) -> None:
    held = threading.Event()

    def slow(connection: Any) -> None:
        held.wait(10)
        put(connection, "k")

    if not isinstance(database, SqliteDatabase):
        held.set()  # there the work runs on the loop
    task = asyncio.create_task(database.change(slow))
    await asyncio.sleep(0)
    task.cancel()
    held.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await database.change(lambda connection: put(connection, "later"))
    assert await keys(database) == {"k", "later"}


async def test_a_reader_sees_one_moment(database: SqlDatabase) -> None:
    if not isinstance(database, SqliteDatabase):
        raw = await database.read(
            lambda connection: connection.execute(text("SHOW transaction_isolation")).scalar_one()
        )
        assert raw == "repeatable read"
        return
    first, second = threading.Event(), threading.Event()

    def look(connection: Any) -> tuple[int, int]:
        before = len(connection.execute(select(meta.c.key)).all())
        first.set()
        second.wait(10)
        return before, len(connection.execute(select(meta.c.key)).all())

    reading = asyncio.create_task(database.read(look))
    await asyncio.to_thread(first.wait, 10)
    await database.change(lambda connection: put(connection, "k"))
    second.set()
    assert await reading == (0, 0)
    assert await keys(database) == {"k"}


async def test_a_reader_cannot_write(database: SqlDatabase) -> None:
    with pytest.raises(Unavailable):
        await database.read(lambda connection: put(connection, "k"))
    assert await keys(database) == set()


async def test_closing_ends_what_waits_and_refuses_what_comes(store: Store) -> None:
    async with store.open() as database:
        waiting = [
            asyncio.ensure_future(database.change(lambda connection, key=f"k{i}": put(connection, key)))  # type: ignore[misc]
            for i in range(BATCH + 1)
        ]
        await asyncio.sleep(0)
    assert len(await asyncio.gather(*waiting)) == BATCH + 1
    with pytest.raises(Unavailable):
        await database.change(lambda connection: put(connection, "late"))
    async with store.open() as again:
        assert len(await keys(again)) == BATCH + 1
