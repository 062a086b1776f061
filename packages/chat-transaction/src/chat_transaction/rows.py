"""The statements of the relay: synchronous functions of one connection."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from attrs import frozen
from chat_common.ports.broker import BrokerRecord
from sqlalchemy import bindparam, delete, func, insert, not_, select, text, tuple_, update

from chat_transaction.outbox import Token
from chat_transaction.tables import dead_letters, done, outbox

_DELETE_RUN = delete(outbox).where(outbox.c.id.between(bindparam("first"), bindparam("last")))
_DELETE_ONE = delete(outbox).where(outbox.c.id == bindparam("of"), outbox.c.uid == bindparam("as"))
_PAGE = 1_000


@frozen
class Found:
    """``complete``: nothing ready was left out. ``top``: the newest number that the snapshot covers. ``present``: those
    of the known rows that are still there and ready. ``heads``: as `parked_heads`, when asked for."""

    tokens: Sequence[Token]
    complete: bool
    top: int
    next_due: int | None
    present: Collection[int]
    heads: dict[tuple[str, str], dict[str, int]] | None


@frozen
class Scan:
    """Reads the ready rows above ``floor`` that are not ``known``, in order, at most ``limit``."""

    now: int
    floor: int
    limit: int
    known: Collection[int]
    topics: tuple[str, ...]
    excluded: tuple[tuple[str, str], ...]
    shards: tuple[int, ...] | None
    heads: bool = False

    def __call__(self, connection: Any) -> Found:
        top = self._top(connection)
        wanted: list[int] = []
        present: set[int] = set()
        after, complete = self.floor, False
        while len(wanted) < self.limit:
            page = connection.execute(self._ids(after)).scalars().all()
            wanted += [id for id in page if id not in self.known]
            present.update(page)
            # Not every driver reads several statements from one snapshot.
            top = max(top, page[-1]) if page else top
            if len(page) < _PAGE:
                complete = len(wanted) <= self.limit
                break
            after = page[-1]
        wanted = wanted[: self.limit]
        tokens: list[Token] = []
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            tokens += map(_token, connection.execute(select(outbox).where(outbox.c.id.in_(part)).order_by(outbox.c.id)))
        heads = parked_heads(connection) if self.heads else None
        due = select(func.min(outbox.c.due_at)).where(outbox.c.parked == 0, outbox.c.due_at > self.now)
        return Found(
            tokens, complete, top, connection.execute(due).scalar() if self.floor == 0 else None, present, heads
        )

    def _ids(self, after: int) -> Any:
        query = select(outbox.c.id).where(outbox.c.id > after, outbox.c.parked == 0, outbox.c.due_at <= self.now)
        query = query.where(outbox.c.topic.in_(self.topics))
        if self.shards is not None:
            query = query.where(outbox.c.shard.in_(self.shards))
        if self.excluded:
            query = query.where(not_(tuple_(outbox.c.topic, outbox.c.key).in_(self.excluded)))
        return query.order_by(outbox.c.id).limit(_PAGE)

    def _top(self, connection: Any) -> int:
        if connection.dialect.name == "sqlite":
            newest = text("SELECT seq FROM sqlite_sequence WHERE name = 'chat_outbox'")
            return connection.execute(newest).scalar() or 0
        return connection.execute(select(func.max(outbox.c.id))).scalar() or 0


@frozen
class Present:
    """Which of these rows are still in the table."""

    ids: tuple[int, ...]

    def __call__(self, connection: Any) -> set[int]:
        found: set[int] = set()
        for start in range(0, len(self.ids), 500):
            part = self.ids[start : start + 500]
            found.update(connection.execute(select(outbox.c.id).where(outbox.c.id.in_(part))).scalars())
        return found


def _token(row: Any) -> Token:
    record = BrokerRecord(row.topic, row.key, row.payload, row.uid, row.attempts + 1)
    token = Token(row.id, row.shard, row.due_at, record)
    if row.groups is not None:
        token.waiting = set(row.groups.split(","))
    return token


@frozen
class Failure:
    """Notes on a row how often it failed, and why: what survives a crash."""

    id: int
    attempts: int
    reason: str

    def __call__(self, connection: Any) -> None:
        row = update(outbox).where(outbox.c.id == self.id)
        connection.execute(row.values(attempts=self.attempts, error=self.reason))


@frozen
class Burial:
    """Writes a dead letter for one group, once."""

    group: str
    record: BrokerRecord
    reason: str
    now: int

    def __call__(self, connection: Any) -> None:
        table, record = dead_letters, self.record
        same = select(table.c.id).where(table.c.uid == record.id, table.c.group == self.group)
        if connection.execute(same).first() is None:
            connection.execute(
                insert(table).values(
                    topic=record.topic,
                    group=self.group,
                    key=record.key,
                    uid=record.id,
                    payload=record.payload,
                    attempts=record.attempt,
                    reason=self.reason,
                    buried_at=self.now,
                )
            )


@frozen
class Parking:
    """A row that waits, for one group, behind the parked row ``head`` of its key (or is that row itself)."""

    id: int
    head: int
    group: str
    reason: str | None
    attempt: int


@frozen
class Settlement:
    """Rows to delete, as runs of consecutive numbers, and rows to park."""

    handled: Sequence[tuple[int, int]]
    parking: Sequence[Parking]


def settle(connection: Any, settlements: Sequence[Settlement]) -> Sequence[None]:
    """Delete what was handled, park what waits."""
    spans = [{"first": first, "last": last} for each in settlements for first, last in each.handled]
    if spans:
        connection.execute(_DELETE_RUN, spans)
    for each in settlements:
        for parking in each.parking:
            _park(connection, parking)
    return [None] * len(settlements)


def _park(connection: Any, parking: Parking) -> None:
    row = connection.execute(select(outbox).where(outbox.c.id == parking.id)).first()
    if row is None:
        return
    if parking.id != parking.head:
        # Released meanwhile: the row stays ready, and the next scan hands it over behind the released head.
        head = select(outbox.c.parked).where(outbox.c.id == parking.head)
        if not connection.execute(head).scalar():
            return
    values: dict[str, Any] = {"parked": 1}
    already = set(row.groups.split(",")) if row.parked and row.groups else set()
    values["groups"] = ",".join(sorted(already | {parking.group}))
    if parking.reason is not None:
        values |= {"error": parking.reason, "attempts": parking.attempt}
    connection.execute(update(outbox).where(outbox.c.id == parking.id).values(values))


@frozen
class Confirmed:
    """A row that a group behind a broker has handled. ``groups``: all that its topic has here."""

    id: int
    uid: str
    group: str
    groups: tuple[str, ...]


def confirm(connection: Any, confirmed: Sequence[Confirmed]) -> Sequence[None]:
    """Delete the rows that all their groups have handled."""
    alone = [{"of": each.id, "as": each.uid} for each in confirmed if len(each.groups) == 1]
    if alone:
        connection.execute(_DELETE_ONE, alone)
    shared = {each.id: each for each in confirmed if len(each.groups) > 1}
    if shared:
        _confirm_shared(connection, [each for each in confirmed if each.id in shared])
    return [None] * len(confirmed)


def _confirm_shared(connection: Any, confirmed: Sequence[Confirmed]) -> None:
    """The same for topics with several groups, which are counted in a table; the last one deletes the row."""
    ids = sorted({each.id for each in confirmed})
    # The row locks make one of two groups that confirm at once the last one.
    held = select(outbox.c.id, outbox.c.uid, outbox.c.groups).where(outbox.c.id.in_(ids))
    found = {row.id: row for row in connection.execute(held.order_by(outbox.c.id).with_for_update())}
    earlier = connection.execute(select(done.c.id, done.c.group).where(done.c.id.in_(list(found)))).all()
    finished: dict[int, set[str]] = {}
    for row in earlier:
        finished.setdefault(row.id, set()).add(row.group)
    known = {(row.id, row.group) for row in earlier}
    added: dict[tuple[int, str], None] = {}
    wanted: dict[int, set[str]] = {}
    for each in confirmed:
        row = found.get(each.id)
        if row is not None and row.uid == each.uid:
            wanted[each.id] = set(row.groups.split(",")) if row.groups else set(each.groups)
            finished.setdefault(each.id, set()).add(each.group)
            if (each.id, each.group) not in known:
                added[each.id, each.group] = None
    over = [id for id, groups in wanted.items() if groups <= finished[id]]
    gone = set(over)
    noted = [{"id": id, "group": group} for id, group in added if id not in gone]
    if noted:
        connection.execute(insert(done), noted)
    if over:
        connection.execute(delete(done).where(done.c.id.in_(over)))
        connection.execute(delete(outbox).where(outbox.c.id.in_(over)))


@frozen
class Pending:
    """Of these rows, the ones that a group has not handled yet; ``shared``: the topic has several groups."""

    group: str
    ids: tuple[int, ...]
    shared: bool

    def __call__(self, connection: Any) -> set[int]:
        rows = connection.execute(select(outbox.c.id, outbox.c.groups).where(outbox.c.id.in_(self.ids)))
        found = {row.id for row in rows if row.groups is None or self.group in row.groups.split(",")}
        if self.shared and found:
            handled = select(done.c.id).where(done.c.id.in_(found), done.c.group == self.group)
            found -= set(connection.execute(handled).scalars())
        return found


@frozen
class ParkedKeys:
    """Of these keys of a topic, the ones that are parked for a group: key → number of its first parked row."""

    topic: str
    group: str
    keys: tuple[str, ...]

    def __call__(self, connection: Any) -> dict[str, int]:
        table = outbox
        rows = select(table.c.id, table.c.key, table.c.groups).where(table.c.parked == 1, table.c.topic == self.topic)
        found: dict[str, int] = {}
        for row in connection.execute(rows.where(table.c.key.in_(self.keys)).order_by(table.c.id)):
            if self.group in (row.groups or "").split(","):
                found.setdefault(row.key, row.id)
        return found


def parked_heads(connection: Any) -> dict[tuple[str, str], dict[str, int]]:
    """(topic, group) → key → number of the first parked row."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    parked = select(outbox.c.id, outbox.c.topic, outbox.c.key, outbox.c.groups).where(outbox.c.parked == 1)
    for row in connection.execute(parked.order_by(outbox.c.id)):
        for group in (row.groups or "").split(","):
            found.setdefault((row.topic, group), {}).setdefault(row.key, row.id)
    return found


def runs(ids: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers as (first, last) of each run without a gap."""
    found: list[tuple[int, int]] = []
    for id in sorted(ids):
        if found and id == found[-1][1] + 1:
            found[-1] = (found[-1][0], id)
        else:
            found.append((id, id))
    return found
