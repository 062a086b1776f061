"""What consumers gave up: buried records in their own table, parked ones still in the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chat_common.clock import Clock
from chat_common.errors import Invalid, NotFound
from chat_common.ports.database import Database
from chat_common.ports.outbox import DeadLetter, GroupStatus, OutboxStatus
from sqlalchemy import delete, func, insert, literal, select, tuple_

from chat_transaction.sql import registry, settling
from chat_transaction.sql.outbox import shard_of
from chat_transaction.sql.tables import GroupState, dead_letters, groups, outbox, state


class SqlDeadLetters:
    """`chat_common.ports.outbox.DeadLetters`. Ids are ``b<number>`` (buried) and ``p<number>:<group>`` (parked).

    Of a parked key only the record that failed is a dead letter; what waits behind it goes on with it.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def list(
        self, *, topic: str | None = None, limit: int = 50, after: str | None = None
    ) -> Sequence[DeadLetter]:
        if not 1 <= limit <= 1_000:
            raise Invalid(f"The limit is {limit}; it must be 1 to 1,000.", field="limit", limit=1_000)
        return await self._database.read(lambda connection: _page(connection, topic, limit, after))

    async def show(self, id: str) -> DeadLetter:
        kind, number, group = _parse(id)
        if kind == "b":
            query = select(dead_letters).where(dead_letters.c.id == number)
        else:
            query = _parked().where(outbox.c.id == number, state.c.group == group)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise NotFound(f"There is no dead letter {id}.")
        return _letter(kind, row)

    async def replay(self, ids: Sequence[str]) -> int:
        now = self._clock.wall_ms()

        def work(connection: Any) -> int:
            count = 0
            # Oldest first, whatever order they are named in: those of one key come again as they once were.
            for kind, number, group in sorted(map(_parse, ids)):
                if kind == "b":
                    count += _requeue(connection, number, now)
                else:
                    count += settling.release(connection, number, group)
            return count

        return await self._database.change(work)

    async def drop(self, ids: Sequence[str]) -> int:
        def work(connection: Any) -> int:
            count = 0
            for id in ids:
                kind, number, group = _parse(id)
                if kind == "b":
                    count += connection.execute(delete(dead_letters).where(dead_letters.c.id == number)).rowcount
                else:
                    # Those behind it are let go in the same step; other groups still get the row.
                    count += settling.release(connection, number, group, drop=True)
            return count

        return await self._database.change(work)

    async def status(self) -> OutboxStatus:
        now = self._clock.wall_ms()

        def work(connection: Any) -> OutboxStatus:
            depth = select(outbox.c.topic, func.count()).group_by(outbox.c.topic).order_by(outbox.c.topic)
            oldest = connection.execute(select(func.min(outbox.c.created_at)).where(outbox.c.parked == 0)).scalar()
            parked = select(func.count(state.c.id.distinct())).where(state.c.state == GroupState.PARKED)
            buried = select(func.count()).select_from(dead_letters)
            return OutboxStatus(
                depth={topic: count for topic, count in connection.execute(depth)},
                oldest=None if oldest is None else max(0.0, (now - oldest) / 1000),
                parked=connection.execute(parked).scalar_one(),
                buried=connection.execute(buried).scalar_one(),
                groups=_groups(connection, now),
            )

        return await self._database.read(work)

    async def forget(self, topic: str, group: str) -> bool:
        return await self._database.change(lambda connection: settling.forget(connection, topic, group))


def _groups(connection: Any, now: int) -> list[GroupStatus]:
    rows = select(outbox.c.topic, state.c.group, func.count()).join(state, state.c.id == outbox.c.id)
    rows = rows.where(state.c.state == GroupState.ABSENT).group_by(outbox.c.topic, state.c.group)
    absent = {(topic, group): count for topic, group, count in connection.execute(rows)}
    running = frozenset[tuple[str, str]]().union(
        *(each.groups for each in registry.of_live_relays(connection, now).values())
    )
    known = connection.execute(select(groups).order_by(groups.c.topic, groups.c.group))
    return [
        GroupStatus(
            row.topic,
            row.group,
            (row.topic, row.group) in running,
            max(0.0, (now - row.seen_at) / 1000),
            absent.get((row.topic, row.group), 0),
        )
        for row in known
    ]


def _parked() -> Any:
    """The heads of parked keys: the rows with a reason."""
    heads = select(outbox, state.c.group, state.c.attempts.label("tried"), state.c.reason)
    heads = heads.join(state, state.c.id == outbox.c.id)
    return heads.where(state.c.state == GroupState.PARKED, state.c.reason.is_not(None))


def _page(connection: Any, topic: str | None, limit: int, after: str | None) -> Sequence[DeadLetter]:
    """Parked ones first, then buried ones; each newest first."""
    kind, number, group = _parse(after) if after is not None else ("p", None, "")
    found: list[DeadLetter] = []
    if kind == "p":
        query = _parked()
        if topic is not None:
            query = query.where(outbox.c.topic == topic)
        if number is not None:
            query = query.where(tuple_(outbox.c.id, state.c.group) < tuple_(literal(number), literal(group)))
        query = query.order_by(outbox.c.id.desc(), state.c.group.desc()).limit(limit)
        found += [_letter("p", row) for row in connection.execute(query)]
    if len(found) < limit:
        query = select(dead_letters)
        if topic is not None:
            query = query.where(dead_letters.c.topic == topic)
        if kind == "b":
            query = query.where(dead_letters.c.id < number)
        query = query.order_by(dead_letters.c.id.desc()).limit(limit - len(found))
        found += [_letter("b", row) for row in connection.execute(query)]
    return found


def _letter(kind: str, row: Any) -> DeadLetter:
    if kind == "b":
        return DeadLetter(
            f"b{row.id}", "buried", row.topic, row.group, row.key, row.attempts, row.reason, row.buried_at, row.payload
        )
    id = f"p{row.id}:{row.group}"
    return DeadLetter(id, "parked", row.topic, row.group, row.key, row.tried, row.reason, row.created_at, row.payload)


def _requeue(connection: Any, number: int, now: int) -> int:
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


def _parse(id: str) -> tuple[str, int, str]:
    """Kind, number, and of a parked one its group."""
    kind, (number, colon, group) = id[:1], id[1:].partition(":")
    if kind not in ("b", "p") or not number.isdecimal() or len(number) > 18 or (kind == "p") != bool(colon and group):
        raise Invalid(
            f"{id!r} is not the id of a dead letter: b and a number, or p, a number, a colon and a group.", field="id"
        )
    return kind, int(number), group
