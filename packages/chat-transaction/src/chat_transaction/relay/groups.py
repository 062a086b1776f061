"""The consumer groups of each topic, and for which of them a row is handed over now."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial

import attrs
from attrs import frozen
from chat_common.clock import Clock
from chat_common.ports.database import Database

from chat_transaction.sql import queries, registry, settling
from chat_transaction.sql.outbox import OutboxRow
from chat_transaction.sql.registry import Capabilities, Registered

log = logging.getLogger(__name__)

_SEEN = 300.0
"""Seconds between two notes that this relay's groups are run."""


@frozen
class Census:
    """``registered``: the groups of each topic; ``running``: those of them that some relay runs which can get their
    rows; ``returned``: topics of which rows wait for a group that was absent and is run again."""

    registered: Registered
    running: Registered
    returned: frozenset[str]


class Groups:
    """A topic's rows are owed to all its registered groups. Those that run get a row now; for the others it stays in
    the table, marked as waiting for an absent group.

    ``is_local`` says of a topic whether its rows never leave this process: then only the groups of this process can
    get them.
    """

    def __init__(self, database: Database, clock: Clock, patience: float, is_local: Callable[[str], bool]) -> None:
        self.registered: Registered = {}
        self.running: Registered = {}
        self.single: frozenset[str] = frozenset()
        """Topics with one group, which runs: their rows need no account of who has handled them."""
        self._database = database
        self._clock = clock
        self._patience = patience
        self._is_local = is_local
        self._noted_at = -math.inf

    async def count(self, mine: Capabilities, live: Mapping[str, Capabilities], shards: Collection[int]) -> Census:
        """Read which groups there are; every few minutes also note that ``mine`` are run, and expire those that nobody
        has run for ``patience`` seconds."""
        now = self._clock.monotonic()
        if now - self._noted_at >= _SEEN:
            wall, patience = self._clock.wall_ms(), round(self._patience * 1000)
            expire = partial(settling.expire_groups, seen=mine.groups, now=wall, since=wall - patience)
            for topic, group in await self._database.change(expire):
                log.warning("nobody has run group %s of topic %s for long: nothing waits for it any more", group, topic)
            self._noted_at = now
        registered, absent = await self._database.read(
            lambda connection: (registry.read(connection), queries.absent(connection, shards))
        )
        everybody = frozenset[tuple[str, str]]().union(*(each.groups for each in live.values()))
        running: dict[str, frozenset[str]] = {}
        for topic, groups in registered.items():
            who = mine.groups if self._is_local(topic) else everybody
            if here := frozenset(group for group in groups if (topic, group) in who):
                running[topic] = here
        returned = frozenset(topic for topic, group in absent if group in running.get(topic, ()))
        return Census(registered, running, returned)

    def differ(self, census: Census) -> bool:
        return census.registered != self.registered or census.running != self.running

    def adopt(self, census: Census, in_flight: Iterable[OutboxRow]) -> Iterator[tuple[OutboxRow, frozenset[str]]]:
        """From now on these groups count. Yields the rows in flight that must stay in the table for groups which have
        joined or gone meanwhile, and those groups: nobody hands these rows to them any more."""
        was, ran = self.registered, self.running
        self.registered, self.running = census.registered, census.running
        self.single = frozenset(topic for topic, here in self.running.items() if len(self.registered[topic]) == 1)
        for row in in_flight:
            topic = row.record.topic
            before, now = was.get(topic, frozenset()), self.registered.get(topic, frozenset())
            joined = now - before if row.only is None else frozenset()
            gone = (ran.get(topic, frozenset()) - self.running.get(topic, frozenset())) & (row.waiting or before)
            if joined or gone:
                if row.waiting is None:
                    row.waiting, row.handled = set(before), set()
                row.retained = (row.retained or {}) | dict.fromkeys(joined | gone)
                yield row, joined | gone

    def of(self, topic: str) -> frozenset[str]:
        return self.registered.get(topic, frozenset())

    def divide(self, row: OutboxRow) -> bool:
        """Set who gets the row now (``waiting``) and for whom it stays in the table (``retained``); whether anybody
        gets it now."""
        topic = row.record.topic
        wanted = (row.only or self.registered[topic]) - (row.settled or frozenset())
        running = wanted & self.running[topic]
        row.waiting, row.handled = set(running), set()
        if row.attempts and running:
            attempt = 1 + min(row.attempts.get(group, 0) for group in running)
            row.record = attrs.evolve(row.record, attempt=attempt)
        if wanted - running:
            row.retained = dict.fromkeys(wanted - running)
        return bool(running)
