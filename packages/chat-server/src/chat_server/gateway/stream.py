"""One conversation on this node: how far it was handed on, and who of this node's users gets what comes next.

The invariant, which the model test drives:

    What is at or below ``position`` was handed on here, or is owed by a sync. Where ``known`` is not None, it holds
    every user of this node who is a member as of ``position``, and nobody who is not; or the stream is ``incomplete``,
    and hands on nothing until it was asked for the rest.

Whether a user gets a push is asked of his entry at that push: is its rev above his floor, is he present as of it, and
do his spans hold the message? Whoever may not see a message is told its stamp alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from chat_common.events import MembersChanged
from chat_common.records import Push

from chat_server.services import Delivery, Membership, Spans

Step = tuple[Sequence[str] | None, Sequence[Push]]
"""Pushes, and the users who get them; None: everybody in `Stream.known`. No pushes: these users are to sync."""


NONE: Mapping[str, Any] = {}


class Entry:
    """A member: his spans as of ``rev``; what is at or below ``floor`` is owed to him by his sync."""

    __slots__ = ("floor", "rev", "spans")

    def __init__(self, spans: Spans, rev: int, floor: int) -> None:
        self.spans = spans
        self.rev = rev
        self.floor = floor


class Stream:
    """``position``: the rev up to which this node has handed on, hot or not. ``known``: the members among this node's
    users while the conversation is hot, else None. ``since``: from which rev on ``known`` has been kept; ``hot_at``:
    for which period of heat, by the time at which that began.

    The rest is of what is read or was heard at another moment. ``incomplete``: the members must be asked for before
    anything is handed on; ``lagging``: users who are told to sync once that is done; ``waiting``: what comes after what
    is being read; ``target``: the rev that the log is known to have. ``later``: memberships that the log has above the
    position; ``newer``: accounts of users that are not older than the delivery that turned it normal. ``holed``: stamps
    that were handed on cover others, of rows that were changed again and come later: who is put out before they come
    lacks them, and is told to sync. ``refused``: an interceptor refused a push of it.
    """

    __slots__ = (
        "audience",
        "generation",
        "holed",
        "hot_at",
        "incomplete",
        "known",
        "lagging",
        "later",
        "newer",
        "newest_from",
        "position",
        "reading",
        "refused",
        "since",
        "target",
        "top_floor",
        "waiting",
    )  # fmt: skip

    def __init__(self, position: int) -> None:
        self.position = position
        self.known: dict[str, Entry] | None = None
        self.since = position
        self.hot_at = 0
        self.incomplete = False
        self.lagging: frozenset[str] = frozenset()
        self.waiting: deque[Sequence[Delivery]] | None = None
        self.target = 0
        self.reading = False
        self.refused = False
        self.holed = False
        self.newer: Mapping[str, Entry] = NONE
        self.later: Mapping[str, Membership] = NONE
        self.newest_from = 0  # No span of an entry begins above this seq,
        self.top_floor = 0  # and no floor lies above this rev.
        self.audience: Any = None  # Whatever the owner makes of `known`; None after each change of it.
        self.generation = 0

    # --- who is in it ---

    def begin(self, rev: int, members: Mapping[str, Spans] | None) -> None:
        """It is hot from ``rev`` on, with these members here; None: they must be asked for."""
        self.known = {}
        self.audience = None
        self.position = self.since = max(self.position, rev)
        self.incomplete = members is None
        self.holed = False
        for user, spans in (members or {}).items():
            self.enter(user, spans, rev, self.position)
        newer, self.newer = self.newer, NONE
        for user, entry in newer.items():
            if entry.rev >= rev:
                self.enter(user, entry.spans, entry.rev, entry.floor)

    def cool(self, rev: int) -> None:
        """It is normal as of ``rev``: deliveries name their recipients. Accounts that are not older stay: by them
        it may be hot again, and the delivery that says so was made before their users had come."""
        known = self.newer if self.known is None else self.known
        self.newer = {user: entry for user, entry in known.items() if entry.rev >= rev}
        self.known = self.audience = None
        self.incomplete = self.refused = False
        self.lagging = frozenset()

    def reenter(self) -> None:
        """What is missing is too much to be read: everybody here is to sync, and enters anew."""
        self.lagging = self.lagging.union(self.known or ())
        self.known = {}
        self.audience = None
        self.incomplete = True

    def enter(self, user: str, spans: Spans, rev: int, floor: int) -> None:
        assert self.known is not None
        self.known[user] = Entry(spans, rev, floor)
        self.newest_from = max(self.newest_from, spans[-1][0])
        self.top_floor = max(self.top_floor, floor)
        self.audience = None

    def welcome(self, user: str, membership: Membership, floor: int) -> None:
        """He comes anew, and syncs up to ``floor``. Of two accounts of him the one with the larger rev counts."""
        assert self.known is not None
        entry = self.known.get(user)
        if entry is not None and entry.rev >= membership.rev:
            self.enter(user, entry.spans, entry.rev, max(entry.floor, floor))
        else:
            self.enter(user, membership.spans, membership.rev, max(entry.floor if entry is not None else 0, floor))

    def complete(self, rev: int, asked: Mapping[str, int], found: Mapping[str, Membership], hot_at: int) -> set[str]:
        """The answer to who is in it. ``asked``: the users asked for, each with the rev as of which it holds; who is
        not found is out. ``rev``: the lowest of these. Those of whom something else was known here have missed what
        came in between: they are returned with the ones that are lagging, to be told to sync."""
        assert self.known is not None
        told, self.lagging = set(self.lagging), frozenset()
        for user, as_of in asked.items():
            entry, membership = self.known.get(user), found.get(user)
            if entry is not None and entry.rev >= as_of:
                continue
            if membership is None:
                if entry is not None:
                    del self.known[user]
                    self.audience = None
                    told.add(user)
            elif entry is None or [*map(list, entry.spans)] != [*map(list, membership.spans)]:
                self.enter(user, membership.spans, membership.rev, membership.rev)
                told.add(user)
        # Nobody needs what is at or below every floor.
        self.position = max(self.position, min((entry.floor for entry in self.known.values()), default=rev))
        self.since = max(self.since, rev)
        self.hot_at = max(self.hot_at, hot_at)
        self.incomplete = False
        return told

    def prune(self, online: Collection[str]) -> None:
        """Forget who is not on this node any more."""
        if self.known is not None:
            for user in [user for user in self.known if user not in online]:
                del self.known[user]
                self.audience = None

    # --- what comes ---

    def wait(self, unit: Sequence[Delivery], most: int) -> None:
        """Put this aside until what comes before it is read. What does not fit is read from the log as well."""
        if self.waiting is None:
            self.waiting = deque()
        if len(self.waiting) < most:
            self.waiting.append(unit)
        else:
            self.target = max(self.target, unit[-1].last)

    def steps(self, pushes: Sequence[Push], later: Mapping[str, Membership], online: Collection[str]) -> Iterator[Step]:
        """What to push to whom, in order; each is to be carried out before the next one is asked for. The caller moves
        the position afterwards.

        ``later``: memberships known to be stamped above these pushes. Memberships among the pushes are looked at
        first too: a row of the log holds the newest state alone, so it tells of what lies before it.
        """
        assert self.known is not None
        fresh = [push for push in pushes if push.rev > self.position]
        if later or self.later:
            self._hear(later, online)
        ahead = self._ahead(fresh, online)
        run: list[Push] = []
        away = self._away(ahead) if ahead else set()
        for push in fresh:
            self.holed = self.holed or push.since < push.rev - 1
            if push.event == "members":
                if run:
                    yield None, run
                    run = []
                yield from self._members(push, ahead, away, online)
            elif not ahead and push.rev > self.top_floor and (push.seq == 0 or push.seq >= self.newest_from):
                run.append(push)  # New, and nobody here has begun above it: nearly always.
            else:
                if run:
                    yield None, run
                    run = []
                yield from self._judged(push, ahead, away)
        if run:
            yield None, run

    def _hear(self, later: Mapping[str, Membership], online: Collection[str]) -> None:
        """Keep what is told of memberships until the stream comes to them: what follows may not tell it again."""
        assert self.known is not None
        kept = {user: membership for user, membership in self.later.items() if membership.rev > self.position}
        for user, membership in later.items():
            if (user in online or user in self.known) and membership.rev > self.position:
                kept[user] = max(membership, kept.get(user, membership), key=lambda one: one.rev)
        self.later = kept

    def _ahead(self, fresh: Sequence[Push], online: Collection[str]) -> dict[str, list[Membership]]:
        """The memberships of this node's users that are not taken in yet, in order."""
        assert self.known is not None
        found: dict[str, list[Membership]] = {}
        for push in fresh:
            if push.event == "members":
                for user, spans in memberships(push.data):
                    if user in online or user in self.known:
                        found.setdefault(user, []).append(Membership(push.rev, spans))
        for user, membership in self.later.items():
            row = found.setdefault(user, [])
            if not row or row[-1].rev < membership.rev:
                row.append(membership)
        return found

    def _away(self, ahead: Mapping[str, Sequence[Membership]]) -> set[str]:
        """Who has left and come back, and the first we hear of it is the return: away for what lies between."""
        assert self.known is not None
        return {
            user
            for user, memberships in ahead.items()
            if (entry := self.known.get(user)) is not None
            and memberships[0].rev > entry.rev
            and len(memberships[0].spans) > len(entry.spans)
        }

    def _members(
        self, push: Push, ahead: dict[str, list[Membership]], away: set[str], online: Collection[str]
    ) -> Iterator[Step]:
        """To those who are present just before or just after it, and to whom it names: his own membership is his."""
        known = self.known
        assert known is not None
        gone: set[str] = set()
        for user, spans in memberships(push.data):
            entry = known.get(user)
            if entry is None and user not in online:
                continue
            if entry is not None and push.rev <= max(entry.floor, entry.rev):
                continue  # He has come with a newer account.
            if is_open(spans):
                self.enter(user, spans, push.rev, entry.floor if entry is not None else push.rev - 1)
            else:
                gone.add(user)
            away.discard(user)
            rest = [membership for membership in ahead.get(user, ()) if membership.rev > push.rev]
            if rest:
                ahead[user] = rest
            else:
                ahead.pop(user, None)
        if gone and self.holed:
            here = [user for user, entry in known.items() if push.rev > entry.floor and user not in away | gone]
            yield here, [push]
            yield sorted(gone), []
        elif away or gone - known.keys() or push.rev <= self.top_floor:
            here = [user for user, entry in known.items() if push.rev > entry.floor and user not in away]
            yield [*here, *sorted(gone - known.keys())], [push]
        else:
            yield None, [push]
        for user in gone & known.keys():
            del known[user]
            self.audience = None

    def _judged(self, push: Push, ahead: Mapping[str, Sequence[Membership]], away: Collection[str]) -> Iterator[Step]:
        assert self.known is not None
        seeing: list[str] = []
        others: list[str] = []
        for user, entry in self.known.items():
            if push.rev <= entry.floor:
                continue
            if push.seq:
                newest = ahead[user][-1] if user in ahead else None
                spans = newest.spans if newest is not None and newest.rev > entry.rev else entry.spans
                if visible(spans, push.seq):
                    seeing.append(user)
                    continue
            elif user not in away:
                seeing.append(user)
                continue
            if user not in away:
                others.append(user)
        if seeing:
            yield seeing, [push]
        if others:
            yield others, [stamp_of(push)]


def visible(spans: Spans, seq: int) -> bool:
    """Whether an interval holds this message; mostly the last one does."""
    return any(span[0] <= seq and (len(span) == 1 or seq <= span[1]) for span in reversed(spans))


def is_open(spans: Spans) -> bool:
    """Whether these are the spans of a present member."""
    return bool(spans) and len(spans[-1]) == 1


def memberships(data: Any) -> Iterable[tuple[str, Spans]]:
    """The users of a `members` push and their spans (records, or their JSON form)."""
    for member in data["members"] if isinstance(data, Mapping) else data.members:
        if isinstance(member, Mapping):
            yield member["user"]["user"], member["spans"]
        else:
            yield member.user.user, member.spans


def stamp_of(push: Push) -> Push:
    """The stamp of a push for those who may not see the rest: memberships of nobody."""
    data = MembersChanged(conversation=push.conversation or "", rev=push.rev, members=[])
    return Push("members", data, push.conversation, push.rev, push.since)
