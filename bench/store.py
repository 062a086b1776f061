"""What a commit costs, without sockets: the transaction of `im.submit` and that of inbox diffusion, by batch size.

    python bench/store.py               # batches of 1, 10, 50, 200
    python bench/store.py 100

CPU per message, and how much of it is spent inside the database driver, statement by statement; the rest is Python:
building statements, parameters, rows. One thread, the server's core, the server's own pragmas (`synchronous=FULL`).
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chat_common.clock import SystemClock
from chat_common.ports.outbox import Outbox
from chat_common.records import Caller
from chat_common.wire import SubmitMessage
from chat_server.im import fanout, submit
from chat_server.im.kinds import BUILT_IN, Kinds
from chat_server.store import columns, schema
from chat_server.store.sqlite import SqliteDatabase
from chat_transaction.sql import tables
from chat_transaction.sql.outbox import SqlOutbox
from sqlalchemy import Connection, event, insert

from bench import process

PAIRS = 100
TURNS = 60
Apply = Callable[[Connection, Sequence[Any]], Sequence[Any]]


class Captured(Exception):
    """Carries what `Submit.submit` would have queued."""


class Queue:
    """Stands where the writer would be, and hands over the prepared item instead of queueing it."""

    apply: Apply | None = None
    item: Any = None

    async def change_many(self, apply: Apply, item: Any, by: str = "") -> Any:
        self.apply, self.item = apply, item
        raise Captured


def prepared(service: submit.Submit, queue: Queue, user: str, request: SubmitMessage) -> Any:
    """The item that this submit brings to the transaction."""
    try:
        service.submit(Caller(user, uuid.uuid4().hex), request).send(None)
    except Captured:
        return queue.item
    raise AssertionError("submit did not reach the writer")


class Driver:
    """Time inside the driver, by statement."""

    def __init__(self, engine: Any) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._began = 0.0
        event.listen(engine, "before_cursor_execute", self._before)
        event.listen(engine, "after_cursor_execute", self._after)

    def _before(self, *_: Any) -> None:
        self._began = time.thread_time()

    def _after(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        words = statement.split()
        table = next((word for word in words if word.startswith("chat_")), "").split(".")[0]
        self.seconds[f"{words[0].lower()} {table}"] += time.thread_time() - self._began


def measure(name: str, connection: Connection, driver: Driver, batches: Sequence[tuple[Apply, Sequence[Any]]]) -> None:
    """Runs the batches, each its own transaction, and prints CPU per item; the first five only warm up."""
    commit = total = 0.0
    items = 0
    for turn, (apply, batch) in enumerate(batches):
        if turn == 5:
            commit = total = 0.0
            items = 0
            driver.seconds.clear()
        began = time.thread_time()
        with connection.begin() as transaction:
            outcomes = apply(connection, batch)
            almost = time.thread_time()
            transaction.commit()
        ended = time.thread_time()
        total += ended - began
        commit += ended - almost
        items += len(batch)
        if bad := [outcome for outcome in outcomes if isinstance(outcome, Exception)]:
            raise SystemExit(f"{name}: {bad[0]!r}")
    scale = 1e6 / items
    inside = sum(driver.seconds.values())
    print(f"{name}: {total * scale:.1f} µs; driver {inside * scale:.1f}, commit {commit * scale:.1f}, Python"
          f" {(total - inside - commit) * scale:.1f}")  # fmt: skip
    for statement, seconds in sorted(driver.seconds.items(), key=lambda pair: -pair[1])[:8]:
        print(f"    {seconds * scale:7.1f}  {statement}")


def main() -> None:
    os.sched_setaffinity(0, {process.SERVER_CORE})
    path = process.emptied(process.BUILD / "data" / "store") / "chat.sqlite"
    database = SqliteDatabase(path)
    names = [uuid.uuid4().hex for _ in range(PAIRS)]
    with database.writer_engine.begin() as connection:
        columns.metadata.create_all(connection)
        tables.metadata.create_all(connection)
        connection.execute(insert(schema.conversation), [{"conversation": name, "kind": "direct"} for name in names])
        people = [(name, f"{name}-{side}") for name in names for side in "ab"]
        connection.execute(
            insert(schema.member), [{"conversation": name, "user": user, "role": "member"} for name, user in people]
        )
        connection.execute(insert(schema.version), [{"user": user} for _, user in people])
    driver = Driver(database.writer_engine)
    queue = Queue()
    kinds = Kinds({kind.name: kind for kind in BUILT_IN})
    outbox = cast(Outbox, SqlOutbox(SystemClock()))
    service = submit.Submit(cast(Any, queue), outbox, SystemClock(), kinds)
    body = {"text": "x" * 128}
    for size in [int(word) for word in sys.argv[1:]] or [1, 10, 50, 200]:
        began = time.thread_time()
        submits: list[tuple[Apply, Sequence[Any]]] = []
        for _ in range(TURNS):
            speakers = [people[i % len(people)] for i in range(size)]
            batch = [
                prepared(service, queue, user, SubmitMessage(conversation=name, kind="text", body=body))
                for name, user in speakers
            ]
            assert queue.apply is not None
            submits.append((queue.apply, batch))
        print(f"\nbatch of {size}; preparing: {(time.thread_time() - began) / TURNS / size * 1e6:.1f} µs")
        with database.writer_engine.connect() as connection:
            measure("submit", connection, driver, submits)
            diffusions: list[tuple[Apply, Sequence[Any]]] = []
            for turn in range(TURNS):
                batch = [
                    fanout.Diffusion(name, (size + 1) * turn + i, turn, [f"{name}-a", f"{name}-b"], {}, 1, 1,
                                     frozenset(), 0)
                    for i, name in enumerate(names[i % PAIRS] for i in range(size))
                ]  # fmt: skip
                diffusions.append((fanout.diffuse, batch))
            measure("diffuse to both", connection, driver, diffusions)


if __name__ == "__main__":
    main()
