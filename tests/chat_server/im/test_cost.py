"""What an answer costs follows the page, not the room, the absence or the list: statements, rows and index use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field
from chat_server.im.heat import FanoutSettings
from chat_server.store.sqlite import SqliteDatabase
from sqlalchemy import Connection, event

from tests.chat_server.house import House, fresh_sqlite, opened


@define
class Bill:
    """Statements with their parameters, and hundreds of steps of SQLite's machine."""

    statements: list[tuple[str, Any]] = field(factory=list)
    steps: int = 0


@contextmanager
def counted(house: House) -> Iterator[Bill]:
    """What is asked of the database meanwhile."""
    bill = Bill()
    database = house.database
    assert isinstance(database, SqliteDatabase)

    def asked(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        raw = connection.connection.driver_connection

        def tick() -> int:
            bill.steps += 1
            return 0

        raw.set_progress_handler(tick, 100)
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            bill.statements.append((statement, parameters[0] if many else parameters))

    engines = (database.writer_engine, database.reader_engine)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", asked)
    yield bill
    for engine in engines:
        event.remove(engine, "before_cursor_execute", asked)


async def world(house: House, size: int) -> tuple[str, str, str, int]:
    """``size`` messages in a room of ``size`` members, each of whom has ``size`` rooms in the list, two of them hot."""
    ada = await house.user("ada")
    others = [await house.user(f"u{i}") for i in range(size)]
    room = await house.group(ada)
    for start in range(0, size, 100):
        await house.call(ada, "group.invite", conversation=room, users=others[start : start + 100])
    late = await house.user("late")
    await asyncio.gather(*(house.say(ada, room) for _ in range(size)))
    await asyncio.gather(*(house.group(ada, others[0], name=f"g{i}") for i in range(size)))
    await house.pump()
    await house.rooms.fanout.save()
    head = (await house.call(ada, "history", conversation=room))["head"]["rev"]
    return ada, late, room, head


QUESTIONS = (
    "history",
    "history deep",
    "inbox",
    "sync own",
    "sync room",
    "submit",
    "read",
    "members",
    "invite",
    "fan-out",
)

WORK_LISTS = ("chat_push_", "chat_restamp")
"""Tables of what is still to be done: read as a whole, nearly always empty."""
WALKS_THE_LIST = ("inbox", "sync own")
"""One's hot rooms are found by a walk over one's memberships, in the database, which returns the hot ones alone."""


async def ask(house: House, question: str, ada: str, late: str, room: str, head: int) -> None:
    epoch = house.rooms.epoch
    if question == "history":
        await house.call(ada, "history", conversation=room, limit=10)
    elif question == "history deep":
        await house.call(ada, "history", conversation=room, before=12, limit=10)
    elif question == "inbox":
        await house.call(ada, "inbox.list", limit=10)
    elif question == "sync own":
        await house.call(ada, "sync", epoch=epoch, version=1, limit=10)
    elif question == "sync room":
        await house.call(ada, "sync", epoch=epoch, conversation=room, rev=head - 10, limit=10)
    elif question == "submit":
        await house.say(ada, room)
    elif question == "read":
        await house.call(ada, "read", conversation=room, seq=10)
    elif question == "members":
        await house.call(ada, "group.members", conversation=room, limit=10)
    elif question == "invite":
        await house.call(ada, "group.invite", conversation=room, users=[late])
    elif question == "fan-out":
        house.outbox.take()
        await house.say(late, await house.group(late))
        await house.pump()
        await house.rooms.fanout.save()


def way(statement: str, parameters: Any, connection: Connection) -> Any:
    return connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()


async def test_ten_times_as_much_costs_the_same(sqlite_template: Path, tmp_path: Path) -> None:
    bills: dict[int, dict[str, Bill]] = {}
    plans: dict[str, list[str]] = {}
    for size in (25, 250):
        with fresh_sqlite(sqlite_template, tmp_path / f"of {size}") as store:
            async with opened(store, fanout=FanoutSettings(hot_members=20)) as house:
                place = await world(house, size)
                bills[size] = {}
                for question in QUESTIONS:
                    with counted(house) as bill:
                        await ask(house, question, *place)
                    bills[size][question] = bill
                    for statement, parameters in bill.statements:
                        rows = await house.database.read(partial(way, statement, parameters))
                        plans.setdefault(question, []).extend(f"{row[3]} | {statement}" for row in rows)
    for question in QUESTIONS:
        few, many = bills[25][question], bills[250][question]
        assert len(many.statements) == len(few.statements), question
        walked = 45 if question in WALKS_THE_LIST else 0  # 225 more conversations, at most 20 steps each
        assert many.steps <= 2 * few.steps + 10 + walked, (question, few.steps, many.steps)
        whole = [
            plan
            for plan in plans[question]
            if plan.startswith("SCAN chat_") and not any(list_ in plan for list_ in WORK_LISTS)
        ]
        assert whole == [], question
