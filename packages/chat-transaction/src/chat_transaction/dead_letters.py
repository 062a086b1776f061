"""What consumers gave up: buried records in their own table, parked ones still in the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chat_common.clock import Clock
from chat_common.errors import Invalid, NotFound
from chat_common.ports.database import Database
from chat_common.ports.outbox import DeadLetter, OutboxStatus
from sqlalchemy import delete, func, insert, select, update

from chat_transaction.outbox import shard_of
from chat_transaction.tables import dead_letters, outbox


class SqlDeadLetters:
    """`chat_common.ports.outbox.DeadLetters`. Ids are ``b<number>`` (buried) and ``p<number>`` (parked).

    Of a parked key only the record that failed is a letter; what waits behind it goes on with it.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def list(
        self, *, topic: str | None = None, limit: int = 50, after: str | None = None
    ) -> Sequence[DeadLetter]:
        if not 1 <= limit <= 1_000:
            raise Invalid(f"limit is {limit}; 1 to 1,000 are allowed", field="limit", limit=1_000)
        return await self._database.read(lambda connection: _page(connection, topic, limit, after))

    async def show(self, id: str) -> DeadLetter:
        kind, number = _parse(id)
        query = (_buried if kind == "b" else _parked)().where((dead_letters if kind == "b" else outbox).c.id == number)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise NotFound(f"there is no dead letter {id}")
        return _letter(kind, row)

    async def replay(self, ids: Sequence[str]) -> int:
        now = self._clock.wall_ms()

        def work(connection: Any) -> int:
            count = 0
            # Oldest first, whatever order they are named in: those of one key come again as they once were.
            for kind, number in sorted(map(_parse, ids)):
                count += _dig_up(connection, number, now) if kind == "b" else _release(connection, number)
            return count

        return await self._database.change(work)

    async def drop(self, ids: Sequence[str]) -> int:
        def work(connection: Any) -> int:
            count = 0
            for id in ids:
                kind, number = _parse(id)
                if kind == "b":
                    count += connection.execute(delete(dead_letters).where(dead_letters.c.id == number)).rowcount
                else:
                    # Those behind it are let go in the same step, and the row with them.
                    count += _release(connection, number, drop=True)
            return count

        return await self._database.change(work)

    async def status(self) -> OutboxStatus:
        now = self._clock.wall_ms()

        def work(connection: Any) -> OutboxStatus:
            depth = select(outbox.c.topic, func.count()).group_by(outbox.c.topic).order_by(outbox.c.topic)
            oldest = connection.execute(select(func.min(outbox.c.created_at)).where(outbox.c.parked == 0)).scalar()
            parked = select(func.count()).select_from(outbox).where(outbox.c.parked == 1)
            buried = select(func.count()).select_from(dead_letters)
            return OutboxStatus(
                depth={topic: count for topic, count in connection.execute(depth)},
                oldest=None if oldest is None else max(0.0, (now - oldest) / 1000),
                parked=connection.execute(parked).scalar_one(),
                buried=connection.execute(buried).scalar_one(),
            )

        return await self._database.read(work)


def _buried() -> Any:
    return select(dead_letters)


def _parked() -> Any:
    """The heads of parked keys: the rows with a reason."""
    return select(outbox).where(outbox.c.parked == 1, outbox.c.error.is_not(None))


def _page(connection: Any, topic: str | None, limit: int, after: str | None) -> Sequence[DeadLetter]:
    """Parked ones first, then buried ones; each newest first."""
    kind, number = _parse(after) if after is not None else ("p", None)
    found: list[DeadLetter] = []
    for each, table, query in (("p", outbox, _parked()), ("b", dead_letters, _buried())):
        if kind == "b" and each == "p":
            continue
        if topic is not None:
            query = query.where(table.c.topic == topic)
        if number is not None and each == kind:
            query = query.where(table.c.id < number)
        rows = connection.execute(query.order_by(table.c.id.desc()).limit(limit - len(found))).all()
        found += [_letter(each, row) for row in rows]
        if len(found) >= limit:
            break
    return found


def _letter(kind: str, row: Any) -> DeadLetter:
    if kind == "b":
        return DeadLetter(
            f"b{row.id}", "buried", row.topic, row.group, row.key, row.attempts, row.reason, row.buried_at, row.payload
        )
    return DeadLetter(
        f"p{row.id}", "parked", row.topic, row.groups, row.key, row.attempts, row.error, row.created_at, row.payload
    )


def _dig_up(connection: Any, number: int, now: int) -> int:
    """A buried letter becomes a row again, under its old idempotency key, for the group that had buried it."""
    row = connection.execute(select(dead_letters).where(dead_letters.c.id == number)).first()
    if row is None:
        return 0
    connection.execute(
        insert(outbox).values(
            shard=shard_of(row.key),
            topic=row.topic,
            key=row.key,
            uid=row.uid,
            payload=row.payload,
            due_at=0,
            created_at=now,
            groups=row.group,
        )
    )
    connection.execute(delete(dead_letters).where(dead_letters.c.id == number))
    return 1


def _release(connection: Any, number: int, *, drop: bool = False) -> int:
    """Let a parked head and what is parked behind it in its key go on, or drop the head alone."""
    head = connection.execute(select(outbox).where(outbox.c.id == number, outbox.c.parked == 1)).first()
    if head is None:
        return 0
    behind = (outbox.c.topic == head.topic, outbox.c.key == head.key, outbox.c.parked == 1, outbox.c.id >= number)
    connection.execute(update(outbox).where(*behind).values(parked=0, attempts=0, error=None))
    if drop:
        connection.execute(delete(outbox).where(outbox.c.id == number))
    return 1


def _parse(id: str) -> tuple[str, int]:
    kind, number = id[:1], id[1:]
    if kind not in ("b", "p") or not number.isdecimal():
        raise Invalid(f"{id!r} is no dead letter's id: b or p and a number", field="id")
    return kind, int(number)
