"""What every client sent, was promised and saw, in one order: the evidence that `checker` judges.

All clients of a run live in one process, so a counter is a true clock: ``at`` says what came before what.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Literal

from attrs import define, field, frozen
from chat_common.wire import Member, Message


@frozen
class Sent:
    """A message was handed to the server for the first time."""

    at: int
    user: str
    ref: str
    conversation: str
    text: str


@frozen
class Promised:
    """A receipt came."""

    at: int
    user: str
    ref: str
    conversation: str
    seq: int
    rev: int
    time: int


@frozen
class Refused:
    """An error came instead. ``final``: nothing may have been stored; else it is unknown."""

    at: int
    user: str
    ref: str
    code: str
    final: bool


@frozen
class Heard:
    """A client told its user of a message."""

    at: int
    client: str
    message: Message


@frozen
class Pushed:
    """A stamped push was read from a stream, as the session's push number ``count``."""

    at: int
    client: str
    session: str
    count: int
    conversation: str
    rev: int


@frozen
class Acked:
    """A client acknowledged ``received`` pushes of a session, having read ``counted``."""

    at: int
    client: str
    session: str
    received: int
    counted: int


@frozen
class Moved:
    """Somebody's membership was changed between ``began`` (asked) and ``ended`` (answered)."""

    began: int
    ended: int
    user: str
    conversation: str
    how: Literal["in", "out"]


@frozen
class Killed:
    """The server was killed; ``wall`` in ms since 1970."""

    at: int
    wall: int


@frozen
class Welcome:
    at: int
    client: str
    session: str
    resumed: bool
    asked: bool


@frozen
class LineLost:
    """A connection broke when ``unacked`` pushes that had been read were not acknowledged."""

    at: int
    client: str
    unacked: int


@frozen
class Repaired:
    """A client missed numbers ``first`` … ``last`` after a sync, and asked for them by `history`: a loss made good."""

    at: int
    client: str
    conversation: str
    first: int
    last: int
    found: tuple[int, ...]


@frozen
class Complaint:
    """The server refused a frame that has no ref: the client broke the protocol, or the server miscounts."""

    at: int
    client: str
    text: str


@define
class Ledger:
    """Append only. Nothing in here judges."""

    sent: dict[tuple[str, str], Sent] = field(factory=dict)
    promised: list[Promised] = field(factory=list)
    refused: list[Refused] = field(factory=list)
    heard: list[Heard] = field(factory=list)
    pushed: list[Pushed] = field(factory=list)
    acked: list[Acked] = field(factory=list)
    moved: list[Moved] = field(factory=list)
    killed: list[Killed] = field(factory=list)
    welcomes: list[Welcome] = field(factory=list)
    lost_lines: list[LineLost] = field(factory=list)
    complaints: list[Complaint] = field(factory=list)
    repaired: list[Repaired] = field(factory=list)
    _count: itertools.count[int] = field(factory=lambda: itertools.count(1))

    def now(self) -> int:
        """The next reading of the clock that all entries share."""
        return next(self._count)

    def send(self, user: str, ref: str, conversation: str, text: str) -> None:
        self.sent.setdefault((user, ref), Sent(self.now(), user, ref, conversation, text))

    def promise(self, user: str, ref: str, conversation: str, seq: int, rev: int, time: int) -> None:
        self.promised.append(Promised(self.now(), user, ref, conversation, seq, rev, time))

    def refuse(self, user: str, ref: str, code: str, *, final: bool) -> None:
        self.refused.append(Refused(self.now(), user, ref, code, final))

    def hear(self, client: str, message: Message) -> None:
        self.heard.append(Heard(self.now(), client, message))

    def move(self, began: int, users: Iterable[str], conversation: str, how: Literal["in", "out"]) -> None:
        ended = self.now()
        self.moved.extend(Moved(began, ended, user, conversation, how) for user in users)


@frozen
class Room:
    """A conversation as the store has it at the end: all messages and all memberships that ever were."""

    messages: dict[int, Message]
    members: dict[str, Member]

    def sees(self, user: str, seq: int) -> bool:
        member = self.members.get(user)
        spans = member.spans if member is not None else []
        return any(span[0] <= seq and (len(span) == 1 or seq <= span[1]) for span in spans)


@define
class Outcome:
    """How it ended: the store's rooms, and for each client the own picture and that of a fresh client of its user."""

    rooms: dict[str, Room] = field(factory=dict)
    users: dict[str, str] = field(factory=dict)
    pictures: dict[str, object] = field(factory=dict)
    fresh: dict[str, object] = field(factory=dict)
