"""Which groups a topic has, and which relays run them: what decides when a row is done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
from attrs import frozen
from chat_common.ports.outbox import ENSURED_TOPIC
from chat_common.records import Consumer, Ensured
from sqlalchemy import delete, select, update

from chat_transaction.sql.statements import upsert
from chat_transaction.sql.tables import groups, relays

Registered = Mapping[str, frozenset[str]]
"""Topic → its groups."""


@frozen
class Capabilities:
    """What one relay runs. ``groups``: its consumers, as (topic, group). ``inside``: what only the owner of a shard can
    run, because no broker carries it to another process."""

    groups: frozenset[tuple[str, str]] = frozenset()
    inside: frozenset[str] = frozenset()

    @classmethod
    def of(cls, consumers: Iterable[Consumer], ensured: Iterable[Ensured], *, broker: bool) -> Capabilities:
        """``broker``: something carries records between processes."""
        groups = frozenset((each.topic, each.group) for each in consumers)
        inside = {f"function {each.name} {each.version}" for each in ensured}
        inside |= {f"consumer {topic} {group}" for topic, group in groups if not broker or topic == ENSURED_TOPIC}
        return cls(groups, frozenset(inside))

    def write(self) -> str:
        return msgspec.json.encode([sorted(self.groups), sorted(self.inside)]).decode()

    @classmethod
    def read(cls, text: str) -> Capabilities:
        found = msgspec.json.decode(text)
        return cls(frozenset(map(tuple, found[0])), frozenset(found[1])) if found else cls()


def of_live_relays(connection: Any, now: int = 0) -> dict[str, Capabilities]:
    """Owner → what it runs; without those whose lease was over by ``now`` (ms since 1970)."""
    rows = connection.execute(select(relays).where(relays.c.until >= now))
    return {row.owner: Capabilities.read(row.capabilities) for row in rows}


def eligible(live: Mapping[str, Capabilities]) -> list[str]:
    """The relays that should own shards: those that can run all that any of them can, in their own process; all of
    them when there is none. So a relay of an older release steps back for a newer one that knows more."""
    everything = frozenset[str]().union(*(each.inside for each in live.values()))
    return [owner for owner, each in live.items() if each.inside >= everything] or list(live)


def read(connection: Any) -> Registered:
    found: dict[str, set[str]] = {}
    for row in connection.execute(select(groups.c.topic, groups.c.group)):
        found.setdefault(row.topic, set()).add(row.group)
    return {topic: frozenset(names) for topic, names in found.items()}


def note(connection: Any, seen: Collection[tuple[str, str]], now: int) -> None:
    """These groups are run by somebody now. A new one begins here: rows written before are not owed to it."""
    for topic, group in sorted(seen):
        same = (groups.c.topic == topic, groups.c.group == group)
        if connection.execute(update(groups).where(*same).values(seen_at=now)).rowcount:
            continue
        row = upsert(connection, groups).values(topic=topic, group=group, seen_at=now)
        connection.execute(row.on_conflict_do_nothing())


def unseen(connection: Any, since: int) -> list[tuple[str, str]]:
    """The groups that nobody has run since then."""
    rows = connection.execute(select(groups.c.topic, groups.c.group).where(groups.c.seen_at < since))
    return [(row.topic, row.group) for row in rows]


def remove(connection: Any, topic: str, group: str) -> bool:
    """Whether it was there. `settling.forget` also settles the rows that waited for it."""
    same = (groups.c.topic == topic, groups.c.group == group)
    return bool(connection.execute(delete(groups).where(*same)).rowcount)
