"""One hot room on this node: who stands in it, since when, and who may see what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from chat_common.records import Push

from chat_server.gateway.session import Session
from chat_server.services import Delivery

UNKNOWN = -1


class Room:
    """``rev``: up to here everything was pushed. ``seq``: the newest message; what is not above it is an old one
    (`UNKNOWN`: not asked for yet, so any may be).

    ``sessions``: who gets what comes next, with the ``seq`` at which each came in: later messages were pushed to it,
    so it may see them. ``late``: sessions that get only what comes after their own rev. ``waiting``: deliveries that
    come after what is being looked up; None when nothing is.
    """

    __slots__ = ("late", "rev", "seq", "sessions", "waiting")

    def __init__(self, rev: int) -> None:
        self.rev = rev
        self.seq = UNKNOWN
        self.sessions: dict[Session, int] = {}
        self.late: dict[Session, int] = {}
        self.waiting: list[Delivery] | None = None

    def enter(self, session: Session) -> None:
        self.late.pop(session, None)
        self.sessions.setdefault(session, self.seq)

    def delay(self, session: Session, rev: int) -> None:
        """This session is to get only what comes after ``rev``."""
        del self.sessions[session]
        self.late[session] = rev

    def leave(self, session: Session) -> None:
        self.late.pop(session, None)
        self.sessions.pop(session, None)

    def learn(self, seq: int) -> None:
        """The newest message is this one; who is here gets those after it."""
        self.seq = seq
        for session, since in self.sessions.items():
            if since == UNKNOWN:
                self.sessions[session] = seq

    def let_in(self) -> None:
        """Who was late and has nothing to wait for any more."""
        for session, floor in list(self.late.items()):
            if floor <= self.rev:
                self.enter(session)

    def unknown(self, pushes: Sequence[Push]) -> dict[int, list[Session]]:
        """The messages among these that may be old ones, changed, with the sessions that may have come after them."""
        found: dict[int, list[Session]] = {}
        for seq in self._old(pushes):
            later = [session for session, since in self.sessions.items() if since >= seq or since == UNKNOWN]
            later.extend(self.late)
            if later:
                found[seq] = later
        return found

    def seers(self, pushes: Sequence[Push], known: Mapping[int, set[str]]) -> dict[int, Callable[[Session], bool]]:
        """For each message that may be an old one: who may see it, ``known`` telling the doubtful ones."""

        def seer(seq: int, users: set[str]) -> Callable[[Session], bool]:
            return lambda session: self.sessions[session] < seq or session.user in users

        return {seq: seer(seq, known.get(seq, set())) for seq in self._old(pushes)}

    def _old(self, pushes: Sequence[Push]) -> list[int]:
        """New messages come in order of seq, above all that were there."""
        newest = self.seq
        found: list[int] = []
        for push in pushes:
            if push.rev <= self.rev or push.event != "message" or not push.seq:
                continue
            if self.seq == UNKNOWN or push.seq <= newest:
                found.append(push.seq)
            else:
                newest = push.seq
        return found


def membership(data: Any) -> tuple[list[str], list[str]]:
    """Who is a member and who is none any more, by a `members` push (records, or their JSON form)."""
    members: Iterable[Any] = data["members"] if isinstance(data, Mapping) else data.members
    here: list[str] = []
    gone: list[str] = []
    for member in members:
        if isinstance(member, Mapping):
            user, spans = member["user"]["user"], member["spans"]
        else:
            user, spans = member.user.user, member.spans
        (gone if not spans or len(spans[-1]) > 1 else here).append(user)
    return here, gone
