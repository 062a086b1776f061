"""Several servers on one PostgreSQL: they take no locks in a circle, and repeat what the database gave up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from chat_common.errors import Unavailable
from chat_server.admin.records import SetRole
from chat_server.server import Server
from chat_server.store.account_schema import deletion
from chat_server.store.schema import meta, restamp
from sqlalchemy import insert, select

from tests.chat_server.house import Store, fresh_postgresql, opened
from tests.support.program import Program
from tests.support.waiting import until

ROOMS, MEMBERS, SENDERS, COUNT = 3, 300, 8, 6


@pytest.fixture
def shared(postgresql: tuple[str, str], tmp_path: Path) -> Iterator[Store]:
    with fresh_postgresql(*postgresql, tmp_path / "data") as store:
        yield store


async def test_nobody_waits_in_a_circle_and_nothing_is_lost(shared: Store) -> None:
    # Every message is to write to every member's row: the room must not turn hot.
    cold = {"hot_members": 10 * MEMBERS, "hot_deliveries": 1e9}
    settings = {**shared.settings, "limits": {"points": 0}, "fanout": cold}
    async with Server(settings=settings, environ={}) as server:
        people = [(await server.ensure_user(f"u{number}")).user for number in range(MEMBERS)]
        rooms = []
        for number in range(ROOMS):
            hall = {"name": f"Hall {number}", "members": people[1:200]}
            rooms.append((await server.call("group.create", hall, user=people[0])).conversation)
            await server.call("group.invite", {"conversation": rooms[-1], "users": people[200:]}, user=people[0])
    async with AsyncExitStack() as stack:
        programs = []
        for name in ("one", "two"):
            # Both have the same people: what they say is told to all of them, while it takes their rows.
            plan = {"settings": settings, "rooms": rooms, "users": people[:SENDERS], "count": COUNT, "name": name}
            program = Program("-m", "tests.chat_server.store.talker", json.dumps(plan))
            programs.append(await stack.enter_async_context(program))
        for program in programs:
            await program.says("ready")
        for program in programs:
            await program.type("go")
        for program in programs:
            await program.says("done", 120)
        with psycopg.connect(shared.url, autocommit=True) as database:

            def fanned_out() -> bool:
                row = database.execute(
                    "SELECT count(*) FROM chat_member m JOIN chat_conversation c USING (conversation)"
                    " WHERE conversation = ANY(%s) AND m.diffused = c.head_rev",
                    [rooms],
                ).fetchone()
                return row == (ROOMS * MEMBERS,)

            await until(fanned_out, 60, "every member's inbox stands at the head")
            said = database.execute(
                "SELECT conversation, seq, ref FROM chat_message WHERE conversation = ANY(%s) AND kind = 'text'"
                " ORDER BY conversation, seq",
                [rooms],
            ).fetchall()
            taken = database.execute(
                "SELECT conversation, array_agg(seq ORDER BY seq) FROM chat_message WHERE conversation = ANY(%s)"
                " AND seq > 0 GROUP BY conversation",
                [rooms],
            ).fetchall()
            deadlocks = database.execute(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            ).fetchone()
        lines = [line for program in programs for line in program.lines]
        for program in programs:
            await program.type("end")
    assert deadlocks == (0,)
    assert not [line for line in lines if "failed" in line], lines
    refs = [f"{name}-{user}-{n}" for name in ("one", "two") for user in people[:SENDERS] for n in range(COUNT)]
    assert sorted((room, ref) for room, _, ref in said) == sorted(
        (room, f"{ref}-{room}") for room in rooms for ref in refs
    )
    assert dict(taken) == {room: list(range(1, len(n) + 1)) for room, n in taken}, "holes"
    assert not [line for line in lines if "transaction_repeated" in line]


ABORT = "DO $$ BEGIN RAISE EXCEPTION 'given up' USING ERRCODE = '{}'; END $$"


@pytest.mark.parametrize("state", ["40P01", "40001"])
async def test_what_the_database_gave_up_is_repeated(shared: Store, state: str) -> None:
    tries: list[str] = []

    def put(connection: Any, key: str, failures: int) -> str:
        tries.append(key)
        connection.execute(insert(meta), {"key": key, "value": key})
        if tries.count(key) <= failures:
            connection.exec_driver_sql(ABORT.format(state))
        return key

    async with shared.open() as database:
        assert await database.change(lambda connection: put(connection, "alone", 3)) == "alone"
        both = [database.change(lambda connection, key=key: put(connection, key, 1)) for key in ("a", "b")]  # type: ignore[misc]
        assert await asyncio.gather(*both) == ["a", "b"]
        with pytest.raises(Unavailable):
            await database.change(lambda connection: put(connection, "never", 1_000))
        kept = await database.read(lambda connection: connection.execute(select(meta.c.key)).scalars().all())
    assert {"alone", "a", "b"} <= set(kept)
    assert "never" not in kept
    assert 2 <= tries.count("never") <= 20, "it must be repeated, and not for ever"


async def test_who_waits_long_for_a_lock_keeps_no_neighbour_waiting(shared: Store) -> None:
    """Another server holds a row; of the work that shares a transaction, only what wants that row waits for it."""
    order: list[str] = []

    def take(connection: Any, key: str) -> None:
        connection.execute(select(meta).where(meta.c.key == key).with_for_update()).one()
        order.append(key)

    async with shared.open() as database, shared.open() as other:
        await database.change(
            lambda connection: connection.execute(insert(meta), [{"key": key, "value": key} for key in "abc"])
        )
        async with other.engine.connect() as connection:  # type: ignore[attr-defined]
            await connection.run_sync(take, "b")
            order.clear()
            changes = [
                asyncio.ensure_future(database.change(lambda connection, key=key: take(connection, key)))  # type: ignore[misc]
                for key in "abc"
            ]
            await asyncio.wait_for(changes[0], 30)
            assert not changes[1].done()
            await connection.rollback()
        await asyncio.gather(*changes)
    assert order.count("b") == 1
    assert sorted(set(order)) == ["a", "b", "c"]


async def test_a_server_leaves_to_another_what_that_one_is_at_and_takes_up_what_it_leaves(shared: Store) -> None:
    async with opened(shared) as house:
        boss, ada, bob = await house.users("boss", "ada", "bob")
        await house.rooms.admin.users.set_role("console:me", SetRole(user=boss, role="admin"))
        await house.group(ada, bob)
        await house.call(bob, "user.rename", name="Bob Neu")
        await house.call(boss, "admin.user.delete", user=ada)
        finish = [house.rooms.logic.restamping.finish, house.rooms.admin.deletions.finish]
        with psycopg.connect(shared.url) as another:
            for table in ("chat_restamp", "chat_deletion"):
                another.execute(f"SELECT 1 FROM {table} FOR UPDATE")
            async with asyncio.timeout(10):  # neither waits for the other one's rows
                for each in finish:
                    await each()
            assert len(await house.rows(select(restamp))) == len(await house.rows(select(deletion))) == 1
        for each in finish:
            await each()
        assert await house.rows(select(restamp)) == await house.rows(select(deletion)) == []
