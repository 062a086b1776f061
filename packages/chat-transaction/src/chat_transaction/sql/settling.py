"""What becomes of rows: handled, retained for a group, released. Synchronous functions of one connection.

A row goes when every group that wants it has handled it. One rule decides that, `_reconcile`; deleting at once is its
shortcut for topics whose groups were all here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen
from chat_common.ports.broker import BrokerRecord
from sqlalchemy import bindparam, delete, insert, select, update

from chat_transaction.sql import registry
from chat_transaction.sql.outbox import Parking
from chat_transaction.sql.registry import Registered
from chat_transaction.sql.statements import among, upsert
from chat_transaction.sql.tables import GroupState, dead_letters, leases, outbox, state

_DELETE_RUN = delete(outbox).where(outbox.c.id.between(bindparam("first"), bindparam("last")))
_DELETE_ONE = delete(outbox).where(outbox.c.id == bindparam("of"), outbox.c.uid == bindparam("as"))
_PART = 500


@frozen
class Failure:
    """Notes how often a row failed, and why: what survives a crash. ``group``: whose attempts these are, where the
    topic has several (None: it has one)."""

    id: int
    group: str | None
    attempts: int
    reason: str

    def __call__(self, connection: Any) -> None:
        if self.group is not None:
            entry = _entry(self.id, self.group, GroupState.FAILING, self.attempts, self.reason)
            return _write(connection, [entry])
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
class Retained:
    """A row that some groups have handled, and that stays for others: parked, or absent (None)."""

    id: int
    shard: int
    handled: frozenset[str] = frozenset()
    retained: Mapping[str, Parking | None] = field(factory=dict)


@frozen
class Settlement:
    """Rows to delete, as runs of consecutive numbers, and rows that stay for a group.

    ``registered``: the groups that there were when the rows were handed over, ``fences``: the leases.
    """

    handled: Sequence[tuple[int, int]]
    retained: Sequence[Retained]
    registered: Registered
    fences: Mapping[int, int]


def settle(connection: Any, settlements: Sequence[Settlement]) -> Sequence[None]:
    """Delete what was handled, keep what waits."""
    registered = registry.read(connection)
    spans: list[dict[str, int]] = []
    for each in settlements:
        runs = [{"first": first, "last": last} for first, last in each.handled]
        if each.registered == registered:
            spans += runs
        else:
            _note_handled(connection, runs, each.registered, registered)
    if spans:
        connection.execute(_DELETE_RUN, spans)
    for each in settlements:
        if each.retained:
            _retain(connection, _still_owned(connection, each), registered)
    return [None] * len(settlements)


def _note_handled(
    connection: Any, runs: Iterable[Mapping[str, int]], known: Registered, registered: Registered
) -> None:
    """A group has joined meanwhile: what the others have handled stays for it."""
    for run in runs:
        query = select(outbox.c.id, outbox.c.topic, outbox.c.groups)
        rows = connection.execute(query.where(outbox.c.id.between(run["first"], run["last"]))).all()
        handled = {
            row.id: frozenset(row.groups.split(",")) if row.groups else known.get(row.topic, frozenset())
            for row in rows
        }
        _write(connection, [_entry(id, group, GroupState.DONE) for id in handled for group in sorted(handled[id])])
        _reconcile(connection, handled, registered)


def _still_owned(connection: Any, settlement: Settlement) -> Sequence[Retained]:
    """Without the rows of shards that another relay has taken over: it decides on them."""
    shards = sorted({each.shard for each in settlement.retained})
    query = select(leases.c.shard, leases.c.fence).where(leases.c.shard.in_(shards)).order_by(leases.c.shard)
    fences = {row.shard: row.fence for row in connection.execute(query.with_for_update(read=True))}
    return [each for each in settlement.retained if fences.get(each.shard) == settlement.fences.get(each.shard)]


def _retain(connection: Any, rows: Sequence[Retained], registered: Registered) -> None:
    heads = {parking.head for each in rows for parking in each.retained.values() if parking is not None}
    numbers = heads | {each.id for each in rows}
    # The heads too: none of them may be released between the look at it and what is parked behind it.
    present = _lock(connection, numbers)
    rows = [each for each in rows if each.id in present]
    parked = {(id, group) for id, group, where in _states(connection, numbers) if where == GroupState.PARKED}
    entries: list[dict[str, Any]] = []
    for each in sorted(rows, key=lambda each: each.id):
        entries += [_entry(each.id, group, GroupState.DONE) for group in sorted(each.handled)]
        for group, parking in each.retained.items():
            if parking is None:
                entries.append(_entry(each.id, group, GroupState.ABSENT))
            elif parking.reason is not None:
                entries.append(_entry(each.id, group, GroupState.PARKED, parking.attempts, parking.reason))
                parked.add((each.id, group))
            # Where the head was released meanwhile, or this is that head, the row stays ready: the next scan hands it
            # over in its turn.
            elif (parking.head, group) in parked and (each.id, group) not in parked:
                entries.append(_entry(each.id, group, GroupState.PARKED))
    _write(connection, entries)
    _reconcile(connection, [each.id for each in rows], registered)


@frozen
class Confirmed:
    """A row that a group behind a broker has handled."""

    id: int
    uid: str
    topic: str
    group: str


def confirm(connection: Any, confirmed: Sequence[Confirmed]) -> set[str]:
    """Note it; delete the rows that all their groups have handled, and return their uids."""
    registered = registry.read(connection)
    alone = [each for each in confirmed if _is_alone(each, registered)]
    if alone:
        connection.execute(_DELETE_ONE, [{"of": each.id, "as": each.uid} for each in alone])
    gone = {each.uid for each in alone}
    if len(alone) < len(confirmed):
        shared = [each for each in confirmed if not _is_alone(each, registered)]
        found = _lock(connection, [each.id for each in shared])
        shared = [each for each in shared if found.get(each.id) == each.uid]
        done = {(each.id, each.group) for each in shared}
        _write(connection, [_entry(id, group, GroupState.DONE) for id, group in sorted(done)])
        over = _reconcile(connection, {each.id for each in shared}, registered)
        gone |= {each.uid for each in shared if each.id in over}
    return gone


def _is_alone(confirmed: Confirmed, registered: Registered) -> bool:
    return registered.get(confirmed.topic) == frozenset((confirmed.group,))


def park(connection: Any, batches: Sequence[Sequence[Retained]]) -> Sequence[None]:
    """Rows that a group behind a broker has parked."""
    _retain(connection, [each for batch in batches for each in batch], registry.read(connection))
    return [None] * len(batches)


def release(connection: Any, id: int, group: str, *, drop: bool = False) -> bool:
    """Let a parked head and what is parked behind it in its key go on, for its group; ``drop``: without the head."""
    head = connection.execute(select(outbox).where(outbox.c.id == id).with_for_update()).first()
    stands = {where for number, name, where in _states(connection, [id]) if name == group}
    if head is None or GroupState.PARKED not in stands:
        return False
    behind = select(outbox.c.id).join(state, state.c.id == outbox.c.id)
    behind = behind.where(outbox.c.topic == head.topic, outbox.c.key == head.key)
    behind = behind.where(state.c.group == group, state.c.state == GroupState.PARKED)
    ids = list(connection.execute(behind).scalars())
    _lock(connection, ids)
    connection.execute(delete(state).where(among(connection, state.c.id, ids), state.c.group == group))
    connection.execute(update(outbox).where(among(connection, outbox.c.id, ids)).values(attempts=0, error=None))
    if drop:
        _write(connection, [_entry(id, group, GroupState.DONE)])
    _reconcile(connection, ids, registry.read(connection))
    return True


def revive(connection: Any, topics: Collection[str], groups: Registered, shards: Collection[int]) -> None:
    """Rows of these topics and shards that waited for an absent group are ready again, now that it is run."""
    for topic in sorted(topics):
        here = groups.get(topic, frozenset())
        rows = select(outbox.c.id, state.c.group).join(state, state.c.id == outbox.c.id)
        rows = rows.where(outbox.c.topic == topic, outbox.c.shard.in_(sorted(shards)))
        found = connection.execute(
            rows.where(state.c.state == GroupState.ABSENT, state.c.group.in_(sorted(here)))
        ).all()
        ids = sorted({row.id for row in found})
        gone = delete(state).where(among(connection, state.c.id, ids), state.c.group.in_(sorted(here)))
        connection.execute(gone.where(state.c.state == GroupState.ABSENT))
        connection.execute(update(outbox).where(among(connection, outbox.c.id, ids)).values(parked=0))


def forget(connection: Any, topic: str, group: str) -> bool:
    """Nothing of the topic waits for this group any more. False: nobody knew it."""
    if not registry.remove(connection, topic, group):
        return False
    registered, after = registry.read(connection), 0
    while True:
        page = select(outbox.c.id).where(outbox.c.topic == topic, outbox.c.id > after)
        ids = list(connection.execute(page.order_by(outbox.c.id).limit(_PART)).scalars())
        if not ids:
            return True
        connection.execute(delete(state).where(among(connection, state.c.id, ids), state.c.group == group))
        # Dead letters that were replayed for that group alone.
        connection.execute(delete(outbox).where(among(connection, outbox.c.id, ids), outbox.c.groups == group))
        _reconcile(connection, ids, registered)
        after = ids[-1]


def expire_groups(connection: Any, seen: Collection[tuple[str, str]], now: int, since: int) -> list[tuple[str, str]]:
    """``seen`` are run by somebody now. Forget the groups that nobody has run ``since`` then, and return them; delete
    the standings of rows that are gone, of which a group that joins or leaves in between may leave some."""
    registry.note(connection, seen, now)
    # A relay's clock may be wrong: what a live one runs is not unseen.
    live = frozenset[tuple[str, str]]().union(*(each.groups for each in registry.of_live_relays(connection).values()))
    unseen = [each for each in registry.unseen(connection, since) if each not in live]
    for topic, group in unseen:
        forget(connection, topic, group)
    connection.execute(delete(state).where(state.c.id.not_in(select(outbox.c.id))))
    return unseen


def _reconcile(connection: Any, ids: Collection[int], registered: Registered) -> set[int]:
    """Delete the rows that nobody waits for any more, and flag the others: see `tables.outbox`. Returns the deleted."""
    columns = outbox.c.id, outbox.c.topic, outbox.c.groups, outbox.c.parked
    query = select(*columns).where(among(connection, outbox.c.id, sorted(ids))).order_by(outbox.c.id)
    rows = connection.execute(query.with_for_update()).all()
    stands: dict[int, dict[str, int]] = {}
    for id, group, where in _states(connection, ids):
        stands.setdefault(id, {})[group] = where
    flags: dict[int, list[int]] = {0: [], 1: []}
    gone = []
    for row in rows:
        wanted = frozenset(row.groups.split(",")) if row.groups else registered.get(row.topic, frozenset())
        of = stands.get(row.id, {})
        left = [of.get(group) for group in wanted if of.get(group) != GroupState.DONE]
        if wanted and not left:
            gone.append(row.id)
            continue
        parked = int(bool(left) and all(each in (GroupState.PARKED, GroupState.ABSENT) for each in left))
        if parked != row.parked:
            flags[parked].append(row.id)
    for parked, changed in flags.items():
        if changed:
            flagged = update(outbox).where(among(connection, outbox.c.id, changed))
            connection.execute(flagged.values(parked=parked))
    if gone:
        connection.execute(delete(state).where(among(connection, state.c.id, gone)))
        connection.execute(delete(outbox).where(among(connection, outbox.c.id, gone)))
    return set(gone)


def _lock(connection: Any, ids: Collection[int]) -> dict[int, str]:
    """Number → uid of those that are there. Locked in the order of their numbers: one of two groups that confirm at
    once is the last one."""
    query = select(outbox.c.id, outbox.c.uid).where(among(connection, outbox.c.id, sorted(set(ids))))
    rows = connection.execute(query.order_by(outbox.c.id).with_for_update())
    return {row.id: row.uid for row in rows}


def _states(connection: Any, ids: Collection[int]) -> list[tuple[int, str, int]]:
    columns = state.c.id, state.c.group, state.c.state
    rows = connection.execute(select(*columns).where(among(connection, state.c.id, sorted(ids))))
    return [(row.id, row.group, row.state) for row in rows]


def _entry(id: int, group: str, where: GroupState, attempts: int = 0, reason: str | None = None) -> dict[str, Any]:
    return {"id": id, "group": group, "state": int(where), "attempts": attempts, "reason": reason}


def _write(connection: Any, entries: Sequence[Mapping[str, Any]]) -> None:
    """The last word on a (row, group) counts; but done is done, whoever does not know of it yet."""
    if not entries:
        return
    new = upsert(connection, state)
    columns = {name: new.excluded[name] for name in ("state", "attempts", "reason")}
    known = new.on_conflict_do_update(
        index_elements=["id", "group"], set_=columns, where=state.c.state != GroupState.DONE
    )
    connection.execute(known, list(entries))


def runs(ids: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers as (first, last) of each run without a gap."""
    found: list[tuple[int, int]] = []
    for id in sorted(ids):
        if found and id == found[-1][1] + 1:
            found[-1] = (found[-1][0], id)
        else:
            found.append((id, id))
    return found
