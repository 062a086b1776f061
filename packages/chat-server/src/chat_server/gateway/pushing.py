"""Pushes into the windows of sessions, each encoded once for all who get it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from chat_common.protocol.session import State
from chat_common.records import Push

from chat_server.gateway.encoding import Encoding
from chat_server.gateway.flush import Flush
from chat_server.gateway.index import SessionIndex
from chat_server.gateway.session import Session


class Pushing:
    """What is pushed to a session reaches its window in the order of these calls, and its socket by the next flush."""

    def __init__(self, encoding: Encoding, index: SessionIndex, flush: Flush, now: Callable[[], float]) -> None:
        self._encoding = encoding
        self._index = index
        self._flush = flush
        self._now = now

    def together(self, sessions: Sequence[Session], pushes: Sequence[Push], conversation: str) -> bool:
        """The same to many sessions, without versions; False when an interceptor refused one of the pushes."""
        chunk, whole = self._encoding.chunk(pushes, conversation)
        if chunk.count and sessions:
            self._flush.push(sessions, chunk, self._now())
        return whole

    def named(
        self, deliveries: Sequence[tuple[Sequence[Push], Mapping[str, int]]], conversation: str | None = None
    ) -> None:
        """To the users named, with the versions that this brings them. A push that is refused is lost: nobody has the
        versions then, so that the check finds who is behind."""
        chunks = [(*self._encoding.chunk(pushes, conversation), users) for pushes, users in deliveries]
        whole = all(passed for _, passed, _ in chunks)
        now = self._now()
        by_user, touch = self._index.by_user, self._flush.touch
        self._flush.settle()
        for chunk, _, users in chunks:
            if not (chunk.count or whole):
                continue
            for user, version in users.items():
                for session in by_user.get(user, ()):
                    session.push(chunk, version if whole else 0, now)
                    if not session.dirty:
                        touch(session)

    def one(self, session: Session, push: Push) -> None:
        """One push to one session."""
        chunk, _ = self._encoding.chunk([push])
        self._flush.settle()
        session.push(chunk, 0, self._now())
        self._flush.touch(session)

    def lag(self, users: Iterable[str]) -> None:
        """Tell these users' sessions that pushes are missing: they sync. Who is not welcome yet does so anyway."""
        now = self._now()
        self._flush.settle()
        for session in self._index.of(users):
            if session.state is State.OPEN or session.state is State.DETACHED:
                session.push(session.settings.lagged, 0, now)
                self._flush.touch(session)

    def behind(self, users: Iterable[str]) -> int:
        """Tell these users' sessions by a beat that they are behind; how many were told."""
        told = 0
        for session in self._index.of(users):
            if session.state is State.OPEN:
                session.beat(behind=True)
                self._flush.touch(session)
                told += 1
        return told
