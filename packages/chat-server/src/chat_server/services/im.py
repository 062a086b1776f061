"""What im offers: what was said?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import frozen
from chat_common.records import Push

Spans = Sequence[Sequence[int]]
"""Intervals of a membership, oldest first: ``[from, to]`` closed, ``[from]`` open."""


@frozen
class Membership:
    """The spans of one user in one conversation, as of ``rev``."""

    rev: int
    spans: Spans


@frozen
class Arrival:
    """Answer to a `hello`, read in one transaction: the newest version of the user, and the hot conversations that the
    user is a member of, each with its head and the user's spans as of that head."""

    epoch: str
    version: int
    rooms: Mapping[str, Membership]


@frozen
class Present:
    """The present members among those asked for, with their spans, as of the conversation's head ``rev``; and when it
    last turned hot (ms)."""

    rev: int
    spans: Mapping[str, Spans]
    hot_at: int = 0


@frozen
class LogPage:
    """What brings a conversation from one rev to ``reach``, read in one transaction: newest states in order of rev.

    ``later``: the memberships stamped above ``reach``, by user. A log row holds the newest state alone, so they may say
    that somebody was away for what these pushes hold. None: too many to tell.
    """

    pushes: Sequence[Push]
    reach: int
    later: Mapping[str, Membership] | None


@frozen
class Heads:
    """Answer to the check: the newest version of each user, the newest rev of each conversation asked for; and all hot
    conversations in which something has happened since the time asked for, each with its newest rev and the time at
    which it turned hot: those up to ``until`` (ms); ``more`` came after it."""

    versions: Mapping[str, int]
    rooms: Mapping[str, int]
    epoch: str
    hot: Mapping[str, tuple[int, int]]
    until: int
    more: bool = False


@frozen
class UserVersion:
    """The newest version of a user, in the store's epoch."""

    epoch: str
    version: int


@frozen
class HeadsAsked:
    """At most 1,000 users and 1,000 rooms. ``hot_since`` in ms since 1970: about 1,000 conversations are told for it,
    the earliest first."""

    users: Sequence[str]
    rooms: Sequence[str]
    hot_since: int


@frozen
class MembersAsked:
    """Which of these users are in the conversation? At most 1,000."""

    conversation: str
    users: Sequence[str]


@frozen
class Gap:
    """The revs of a conversation above ``after``, up to ``upto``."""

    conversation: str
    after: int
    upto: int


@frozen
class Speaker:
    """A user who is about to say something in a conversation."""

    user: str
    conversation: str


class ImService(Protocol):
    """What was said?"""

    async def version(self, user: str) -> UserVersion:
        """The newest version of one user, as committed now."""
        ...

    async def arrival(self, user: str) -> Arrival:
        """What a node must know of a user who says `hello`, as committed at one moment."""
        ...

    async def heads(self, asked: HeadsAsked) -> Heads:
        """The paged question that each node asks once per heartbeat."""
        ...

    async def present(self, asked: MembersAsked) -> Present:
        """Which of these users are members now."""
        ...

    async def gap(self, gap: Gap) -> LogPage:
        """What brings a member from rev ``after`` towards ``upto``; bounded: ``reach`` tells how far it came."""
        ...

    async def audience(self, speaker: Speaker) -> Sequence[str]:
        """The other members, for volatile notes (typing); empty for hot rooms; `NotFound` for a non-member,
        `NotPermitted` where the user may not speak."""
        ...

    async def acquainted(self, asked: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """Who may be shown whose presence, as committed at one moment: of the others given for each user those whom
        the user may see. They are friends or members of a common conversation, and neither has blocked the other."""
        ...
