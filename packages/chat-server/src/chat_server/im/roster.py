"""The membership that fan-out goes by: exactly the one at the rev it has come to.

Membership changes travel in the conversation's own ordered stream, so a cached roster stays right by reading along.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field
from sqlalchemy import Connection, or_, select

from chat_server.store import rights, views
from chat_server.store.schema import conversation, fanned, member, message


@define
class Roster:
    """``spans`` by user, at ``rev``; None for a hot room, whose members nobody iterates over.

    ``seq``: the newest message that was fanned out; what comes at or below it is a change of an old one.
    """

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
    rate: float = 0.0
    rated_at: float = 0.0
    marked: bool = False
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
    hot = room.hot or room.members > hot_members
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
    return Roster(name, room.head_rev, done, hot, room.members, room.kind, spans, seq=told or 0, marked=room.hot)


class Rosters:
    """The most recently used rosters of this node, bounded by memberships held."""

    def __init__(self, most_members: int = 200_000) -> None:
        self._most = most_members
        self._held = 0
        self._rosters: OrderedDict[str, Roster] = OrderedDict()

    def get(self, name: str) -> Roster | None:
        found = self._rosters.get(name)
        if found is not None:
            self._rosters.move_to_end(name)
        return found

    def put(self, roster: Roster) -> None:
        self.drop(roster.conversation)
        self._rosters[roster.conversation] = roster
        self._held += 1 + len(roster.spans or ())
        while self._held > self._most and len(self._rosters) > 1:
            _, oldest = self._rosters.popitem(last=False)
            self._held -= 1 + len(oldest.spans or ())

    def drop(self, name: str) -> None:
        old = self._rosters.pop(name, None)
        if old is not None:
            self._held -= 1 + len(old.spans or ())
