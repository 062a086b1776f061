"""The membership that fan-out goes by: exactly the one at the rev it has come to.

Membership changes travel in the conversation's own ordered stream, so a cached roster stays right by reading along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field
from cachetools import LRUCache
from sqlalchemy import Connection, or_, select

from chat_server.im.heat import Load
from chat_server.store import epoch, rights, views
from chat_server.store.schema import conversation, fanned, member, message

STEP = 1_000
"""More than one call lets in: a conversation that is further above the limit was large when it was first seen."""


@define
class Roster:
    """``spans`` by user, at ``rev``; None for a hot room, whose members nobody iterates over.

    ``epoch``: that of the transaction that read it; the numbers mean nothing under another.

    ``seq``: the newest message that was fanned out; what comes at or below it is a change of an old one.
    """

    epoch: str
    conversation: str
    rev: int
    fanned: int
    hot: bool
    count: int
    kind: str
    spans: dict[str, list[list[int]]] | None
    seq: int = 0
    newest_from: int = 0
    anyone_left: bool = False
    load: Load = field(factory=Load)
    marked: bool = False
    wanted_hot: bool = False
    everyone: dict[str, int] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.index()

    def index(self) -> None:
        """Recompute what the fast path looks at."""
        spans = self.spans or {}
        self.newest_from = max((own[-1][0] for own in spans.values()), default=0)
        self.anyone_left = any(len(own[-1]) > 1 for own in spans.values())
        self.everyone = {user: 0 for user, own in spans.items() if len(own[-1]) == 1}

    def receivers(self, seq: int) -> Mapping[str, int]:
        """Who gets what carries this seq (0: a change of members or settings): those whose interval holds it."""
        if seq == 0 or (seq >= self.newest_from and not self.anyone_left):
            return self.everyone
        return {user: 0 for user, own in (self.spans or {}).items() if rights.visible(own, seq)}

    def take_in(self, records: Iterable[Any], rev: int) -> None:
        """A `members` event at ``rev``: memberships as they are from now on."""
        if self.spans is None or rev <= self.rev:
            return
        spans = dict(self.spans)
        for record in records:
            spans[record.user.user] = record.spans
        self.spans = spans
        self.rev = rev
        self.index()

    def forget_left(self) -> None:
        """Drop who has left, once everything said before is fanned out."""
        if self.spans is not None and self.anyone_left:
            self.spans = {user: own for user, own in self.spans.items() if len(own[-1]) == 1}
            self.index()


def load(connection: Connection, name: str, hot_members: int) -> Roster | None:
    """The roster as committed now: for a normal room also those who left after what is still to be fanned out."""
    room = connection.execute(select(conversation).where(conversation.c.conversation == name)).one_or_none()
    if room is None:
        return None
    done = connection.execute(select(fanned.c.rev).where(fanned.c.conversation == name)).scalar_one_or_none() or 0
    # Not marked and just above the limit: it turns hot with its next batch, for which the members are needed.
    hot = room.hot or room.members > hot_members + STEP
    spans = None
    if not hot:
        # A seq is at most its rev: who left before seq 1 of what is open cannot be concerned; the filter keeps all
        # who left while anything was open.
        open_seq = max(0, room.head_seq - (room.head_rev - done))
        rows = connection.execute(
            select(member.c.user, member.c.from_seq, member.c.to_seq, member.c.earlier).where(
                member.c.conversation == name, or_(member.c.to_seq.is_(None), member.c.to_seq > open_seq)
            )
        )
        spans = {row.user: views.spans_of(row) for row in rows}
    # From the newest down, so that this costs what is still open.
    told = connection.execute(
        select(message.c.seq)
        .where(message.c.conversation == name, message.c.first_rev <= done)
        .order_by(message.c.seq.desc())
        .limit(1)
    ).scalar_one_or_none()
    now = epoch.read(connection)
    return Roster(now, name, room.head_rev, done, hot, room.members, room.kind, spans, seq=told or 0, marked=room.hot)


class Rosters:
    """The most recently used rosters of this node, bounded by the memberships that they hold."""

    def __init__(self, most_members: int = 200_000) -> None:
        self._rosters: LRUCache[str, Roster] = LRUCache(most_members, getsizeof=_weight)

    def get(self, name: str) -> Roster | None:
        return self._rosters.get(name)

    def put(self, roster: Roster) -> None:
        """Remember it, weighed as it is now: a roster that has grown or shrunk is to be put again."""
        self._rosters.pop(roster.conversation, None)
        if _weight(roster) <= self._rosters.maxsize:
            self._rosters[roster.conversation] = roster

    @property
    def held(self) -> int:
        """What all rosters weigh."""
        return round(self._rosters.currsize)


def _weight(roster: Roster) -> int:
    return 1 + len(roster.spans or ())
