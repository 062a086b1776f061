"""Which committed rows may be handed over now, and which stay in the table for a while."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from chat_transaction.relay.backlog import Backlog
from chat_transaction.relay.groups import Groups
from chat_transaction.relay.in_flight import InFlight
from chat_transaction.relay.ownership import Ownership
from chat_transaction.relay.reader import Pass
from chat_transaction.sql import queries
from chat_transaction.sql.outbox import OutboxRow
from chat_transaction.sql.tables import SHARDS

_KEY_LIMIT = 200
"""Rows of one failing key that may be in flight; the others wait in the table, so that it cannot fill it all."""
_EXCLUDED = 500
"""Keys that a query leaves out at most; rows of further ones are read, and left again."""

Key = tuple[str, str]


class Intake:
    """A row is left in the table when its topic has no room or is closed, when its key fails and has enough rows in
    flight, or when a row before it in its topic or key was left. The two backlogs remember where.

    ``failing``: (topic, key) → rows of it in flight, where the last attempt failed. ``wake_at`` is asked to look again
    when a delayed row is due.
    """

    def __init__(
        self,
        in_flight: InFlight,
        ownership: Ownership,
        groups: Groups,
        failing: dict[Key, int],
        wake_at: Callable[[int], None],
    ) -> None:
        self._in_flight = in_flight
        self._ownership = ownership
        self._groups = groups
        self._failing = failing
        self._wake_at = wake_at
        self._topics: Backlog[str] = Backlog()
        self._keys: Backlog[Key] = Backlog()
        self._releasing: Collection[Key] = frozenset()
        self.closed: set[str] = set()
        """Topics of which nothing is handed over until what is in flight has ended: see `close`."""

    # --- rows ---------------------------------------------------------------------------------------------------

    def admits(self, row: OutboxRow, *, scanned: bool) -> bool:
        """Whether the row may be handed over now; then its number is known from now on. ``scanned``: a pass has read
        it, and so everything before it; else it was reported, and may have overtaken what was left in the table."""
        record = row.record
        topic = record.topic
        if topic not in self._groups.running or row.shard not in self._ownership.open:
            return False  # not ours to carry; whoever gets it reads it from the table
        if row.id in self._in_flight.numbers:
            return False
        if row.due_at and not scanned:
            self._wake_at(row.due_at)
            return False
        if self._topic_waits(topic, scanned):
            self._topics.leave(topic)
            return False
        if self._failing or self._keys or self._releasing:
            key = (topic, record.key)
            count = self._failing.get(key)
            full = count is not None and count >= _KEY_LIMIT
            if full or key in self._releasing or (key in self._keys and not scanned):
                self._keys.leave(key)
                return False
            if count is not None:
                self._failing[key] = count + 1
        self._in_flight.numbers.add(row.id)
        return True

    def _topic_waits(self, topic: str, scanned: bool) -> bool:
        # Room is asked for first: a topic that is full now is marked as such whoever brings the row.
        if not self._in_flight.has_room(topic):
            return True
        # What a pass has read comes in order, so it may go although rows were left; but not when the topic has become
        # full or closed since the pass began, and rows before this one were left for that.
        return topic in self._topics and not (
            scanned and topic not in self._in_flight.full and topic not in self.closed
        )

    # --- passes -------------------------------------------------------------------------------------------------

    def begin(self, scan: Pass, *, now: int, limit: int, heads: bool) -> queries.Scan:
        """A pass begins: the query for at most ``limit`` rows that may be handed over at ``now``. A quick pass, which
        begins above what was left, reads nothing of the places that are left."""
        blocked, keys = self._blocked_topics(), self._stuck_keys()
        topics = self._groups.running.keys() - blocked
        if scan.full:
            # Before the table is read: what is left again from here on may be missing in the snapshot.
            self._topics.begin(blocked)
            self._keys.begin(keys)
        else:
            topics -= set(self._topics)
            keys |= set(self._releasing)
        shards = self._ownership.open
        return queries.Scan(
            now=now,
            floor=scan.floor,
            limit=limit,
            known=self._in_flight.numbers,
            topics=tuple(sorted(topics)),
            shared=frozenset(topics - self._groups.single),
            excluded=tuple(keys)[:_EXCLUDED],
            shards=None if len(shards) == SHARDS else tuple(shards),
            heads=heads,
        )

    def release(self, keys: Collection[Key]) -> None:
        """These keys were parked, their heads are gone from the table; they go on once nothing of them is in flight."""
        self._releasing = keys

    def end(self) -> bool:
        """A full pass has read to the end, and its rows were handed over; whether another one would find more."""
        # Both, always: each has to note that its places were read.
        topics = self._topics.end(self._blocked_topics())
        keys = self._keys.end(self._stuck_keys() | set(self._releasing))
        return topics or keys

    def waits(self, key: Key) -> bool:
        """Whether rows of this key were left in the table."""
        return key in self._keys

    def _blocked_topics(self) -> set[str]:
        return self._in_flight.full | self.closed

    def _stuck_keys(self) -> set[Key]:
        return {key for key in self._keys if self._failing.get(key, 0) >= _KEY_LIMIT}

    # --- absent groups ------------------------------------------------------------------------------------------

    def close(self, topics: Collection[str]) -> None:
        """Rows of these wait for a group that is run again. They go before all others of their topics, so nothing is
        handed over until what is in flight has ended."""
        self.closed.update(topics)
        self._topics.expect(topics)

    def drained(self, counts: Mapping[str, int]) -> set[str]:
        """The closed topics of which nothing is in flight."""
        return {topic for topic in self.closed if not counts[topic]}

    def reopen(self, topics: Collection[str]) -> None:
        self.closed.difference_update(topics)
