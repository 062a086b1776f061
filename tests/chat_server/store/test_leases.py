"""A named lease has one holder, is taken over after its end, and whoever lost it knows.

On both engines, with the clocks in the test's hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from chat_common.clock import ManualClock
from chat_common.errors import Unavailable
from chat_common.records import Task
from chat_server.store.database import SqlDatabase
from chat_server.store.leases import Lease, Leases, whole
from chat_server.store.schema import lease
from sqlalchemy import Connection, select, update
from sqlalchemy.ext.asyncio import create_async_engine

from tests.chat_server.house import Store, fresh_postgresql
from tests.services.postgresql import asyncpg_url
from tests.support.waiting import until

TTL = 30.0


@define
class Servers:
    """Servers on one database, each with its own clock; time passes for all of them and for the database alike."""

    database: SqlDatabase
    wall: ManualClock = field(factory=ManualClock)
    clocks: list[ManualClock] = field(factory=list)

    def one(self, name: str, database: Any = None) -> Leases:
        clock = ManualClock(wall_ms=self.wall.wall_ms())
        self.clocks.append(clock)
        return Leases(database or self.database, clock, name, ttl=TTL)

    async def elapse(self, seconds: float) -> None:
        for clock in (self.wall, *self.clocks):
            clock.advance(seconds)
        if self.database.dialect == "postgresql":  # its clock is its own: what ends comes nearer instead

            def nearer(connection: Connection) -> None:
                connection.execute(update(lease).values(until=lease.c.until - round(seconds * 1000)))

            await self.database.change(nearer)

    async def row(self, name: str = "work") -> Any:
        return await self.database.read(
            lambda connection: connection.execute(select(lease).where(lease.c.name == name)).one()
        )


@pytest.fixture
async def servers(store: Store) -> AsyncIterator[Servers]:
    async with store.open() as database:
        yield Servers(database)


async def verified(servers: Servers, own: Lease) -> bool:
    return await servers.database.change(own.verify)


async def test_one_holds_it_and_no_other(servers: Servers) -> None:
    a, b = servers.one("a"), servers.one("b")
    of_a, of_b = a.of("work"), b.of("work")
    assert not of_a.held, "nothing was taken yet"
    await a.renew()
    await b.renew()
    assert (of_a.held, of_b.held) == (True, False)
    assert (await verified(servers, of_a), await verified(servers, of_b)) == (True, False)
    row = await servers.row()
    assert (row.holder, row.fence) == (a.holder, 1)
    assert row.holder.startswith("a/")


async def test_of_many_that_begin_at_once_one_holds_it(servers: Servers) -> None:
    all_of_them = [servers.one(f"n{number}") for number in range(8)]
    own = [each.of("work") for each in all_of_them]
    await asyncio.gather(*(each.renew() for each in all_of_them))
    await asyncio.gather(*(each.renew() for each in all_of_them))
    assert sum(each.held for each in own) == 1
    assert (await servers.row()).fence == 1


async def test_it_is_renewed_for_as_long_as_its_holder_lives(servers: Servers) -> None:
    a, b = servers.one("a"), servers.one("b")
    of_a, of_b = a.of("work"), b.of("work")
    for _ in range(10):
        await a.renew()
        await b.renew()
        await servers.elapse(TTL / 3)
        assert (of_a.held, of_b.held) == (True, False)
    assert (await servers.row()).fence == 1


async def test_it_is_taken_over_after_its_end_and_the_former_holder_knows(servers: Servers) -> None:
    a, b = servers.one("a"), servers.one("b")
    of_a, of_b = a.of("work"), b.of("work")
    await a.renew()
    await servers.elapse(TTL * 0.95)
    assert not of_a.held, "a stops before anybody else may begin"
    await b.renew()
    assert not of_b.held
    await servers.elapse(TTL * 0.1)
    await b.renew()
    assert (of_a.held, of_b.held) == (False, True)
    assert not await verified(servers, of_a)
    assert (await servers.row()).fence == 2
    await a.renew()
    assert (of_a.held, of_b.held) == (False, True), "who comes back late does not take it from the next"


async def test_who_was_stopped_is_fenced_out_whatever_his_own_clock_says(servers: Servers) -> None:
    a, b = servers.one("a"), servers.one("b")
    of_a = a.of("work")
    b.of("work")
    await a.renew()
    stopped = servers.clocks.pop(0)
    await servers.elapse(TTL + 1)
    await b.renew()
    assert of_a.held, "the clock of a stands still"
    assert not await verified(servers, of_a)
    stopped.advance(TTL)
    assert not of_a.held


async def test_who_takes_it_again_after_its_end_has_a_greater_fence(servers: Servers) -> None:
    a = servers.one("a")
    own = a.of("work")
    await a.renew()
    await servers.elapse(TTL + 1)
    assert not own.held
    await a.renew()
    assert own.held
    assert await verified(servers, own)
    assert (await servers.row()).fence == 2


async def test_what_is_given_back_is_taken_at_once(servers: Servers) -> None:
    a, b = servers.one("a"), servers.one("b")
    of_a, of_b = a.of("work"), b.of("work")
    other = a.of("other")
    await a.renew()
    await a.give_back("work")
    assert (of_a.held, other.held) == (False, True)
    await a.renew()
    assert not of_a.held, "who gave it back does not take it again by himself"
    await b.renew()
    assert of_b.held
    assert (await servers.row()).fence == 2
    await a.give_back()
    assert not other.held
    assert (await servers.row("other")).holder == ""


async def test_giving_back_late_takes_nothing_from_the_next(servers: Servers) -> None:
    a, b = servers.one("a"), servers.one("b")
    a.of("work")
    of_b = b.of("work")
    await a.renew()
    await servers.elapse(TTL + 1)
    await b.renew()
    await a.give_back()
    assert of_b.held
    assert await verified(servers, of_b)


async def test_leases_of_several_names_are_held_apart(servers: Servers) -> None:
    a, b = servers.one("a"), servers.one("b")
    a.of("first")
    await a.renew()
    of_a, of_b = a.of("second"), b.of("second")
    b.of("first")
    await b.renew()
    await a.renew()
    assert (of_a.held, of_b.held) == (False, True)
    assert (await servers.row("first")).holder == a.holder


async def test_nobody_takes_it_while_its_holder_changes_something_under_it(
    postgresql: tuple[str, str], tmp_path: Path
) -> None:
    with fresh_postgresql(*postgresql, tmp_path / "data") as store:
        engine = create_async_engine(asyncpg_url(store.url))
        async with store.open() as database, engine.connect() as connection:
            servers = Servers(database)
            a, b = servers.one("a"), servers.one("b")
            of_a, of_b = a.of("work"), b.of("work")
            await a.renew()
            assert await connection.run_sync(of_a.verify)
            await servers.elapse(TTL + 1)
            await b.renew()
            assert not of_b.held, "a has not committed yet"
            await connection.commit()
            await b.renew()
            assert of_b.held
        await engine.dispose()


class Away:
    """A database that is away when the test says so."""

    def __init__(self, database: SqlDatabase) -> None:
        self.database = database
        self.away = False

    async def change(self, work: Any, by: str = "") -> Any:
        if self.away:
            raise Unavailable("The database does not answer.")
        return await self.database.change(work, by)


async def test_who_cannot_renew_holds_it_until_its_deadline_and_no_longer(servers: Servers) -> None:
    away = Away(servers.database)
    a = servers.one("a", away)
    own = a.of("work")
    await a.renew()
    away.away = True
    await servers.elapse(TTL / 3)
    with pytest.raises(Unavailable):
        await a.renew()
    assert own.held
    await servers.elapse(TTL * 0.6)
    assert not own.held
    await a.give_back()  # neither raises nor waits for ever
    assert (await servers.row()).holder == a.holder


async def test_work_that_fails_gives_the_lease_to_others_until_it_runs_again(servers: Servers) -> None:
    a, b = servers.one("a"), servers.one("b")
    of_a, of_b = a.of("work"), b.of("work")
    await a.renew()
    runs: list[str] = []

    async def fails(_context: Any) -> None:
        runs.append("run")
        raise LookupError("no way")

    context: Any = None
    task = of_a.task(fails)
    assert task.name == "work"
    with pytest.raises(LookupError):
        await task.run(context)
    await a.renew()
    await b.renew()
    assert (of_a.held, of_b.held) == (False, True)
    await b.give_back()
    await a.renew()
    assert not of_a.held, "not while the work is not running"
    with pytest.raises(LookupError):
        await task.run(context)
    assert runs == ["run", "run"]


async def test_the_task_renews_and_goes_on_when_the_database_was_away(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(servers.database)
    a = servers.one("a", away)
    own = a.of("work")
    a._ttl = 0.03  # the task's own pause; what it writes is renewed all the while
    away.away = True
    (task,) = a.tasks()
    context: Any = None
    running = asyncio.create_task(task.run(context))
    try:
        await asyncio.sleep(0)
        assert not own.held
        away.away = False
        await until(lambda: own.held, what="taken when the database is back")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_a_server_that_is_alone_holds_all_leases_and_asks_nobody() -> None:
    own = Lease("work")
    connection: Any = None
    assert own.held
    assert own.verify(connection)

    async def run(_context: Any) -> None: ...

    assert own.task(run).run is run


async def test_a_step_is_finished_before_a_stop() -> None:
    done: list[str] = []
    go_on = asyncio.Event()

    async def step() -> None:
        await go_on.wait()
        done.append("step")

    async def work() -> None:
        await whole(step())
        done.append("next step")

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    working.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert done == ["step"]


async def test_a_step_that_never_ends_does_not_keep_the_server_from_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat_server.store.leases.LAST_STEP", 0.01)
    torn: list[str] = []

    async def step() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            torn.append("step")
            raise

    working = asyncio.create_task(whole(step()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert torn == ["step"]


async def test_work_of_one_server_at_a_time_is_cancelled_with_its_lease_and_begun_by_the_next(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat_server.store.leases.LOOK", 0.001)
    a, b = servers.one("a"), servers.one("b")
    told: list[str] = []
    finish = asyncio.Event()

    def work(name: str) -> Task:
        async def run(_context: Any) -> None:
            told.append(f"{name} begins")
            try:
                await finish.wait()
            except asyncio.CancelledError:
                told.append(f"{name} is cancelled")
                raise

        return Task("work", run, once=True)

    context: Any = None
    running = [asyncio.create_task(each.once(work(name)).run(context)) for each, name in ((a, "a"), (b, "b"))]
    try:
        await asyncio.sleep(0)  # both have named it
        await a.renew()
        await b.renew()
        await until(lambda: told == ["a begins"])
        await servers.elapse(TTL + 1)
        await until(lambda: told == ["a begins", "a is cancelled"])
        await b.renew()
        await until(lambda: told[2:] == ["b begins"])
        finish.set()
        await running[1]  # it has come to its end on b, which gives it to a
        await a.renew()
        await running[0]
        assert told[2:] == ["b begins", "a begins"]
        assert (await servers.row()).holder == ""
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
