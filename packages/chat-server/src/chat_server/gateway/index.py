"""The sessions of this node: by id and by user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chat_server.gateway.session import Session


class SessionIndex:
    """Holds every session from its place being taken until it is over, connected or not."""

    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}
        self.by_user: dict[str, tuple[Session, ...]] = {}
        self.generation = 0  # Another one after each change.

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_id.values()))

    def get(self, session: str) -> Session | None:
        return self._by_id.get(session)

    def add(self, session: Session) -> None:
        self._by_id[session.id] = session
        self.generation += 1
        if session.user is not None:
            self.by_user[session.user] = (*self.by_user.get(session.user, ()), session)

    def remove(self, session: Session) -> bool:
        """Forget exactly this session; False when it was not here."""
        if self._by_id.get(session.id) is not session:
            return False
        del self._by_id[session.id]
        self.generation += 1
        if session.user is not None:
            rest = tuple(other for other in self.by_user[session.user] if other is not session)
            if rest:
                self.by_user[session.user] = rest
            else:
                del self.by_user[session.user]
        return True

    def of(self, users: Iterable[str]) -> Iterator[Session]:
        """All sessions of these users."""
        for user in users:
            yield from self.by_user.get(user, ())

    def online(self, user: str) -> bool:
        """Whether one of the user's sessions has a connection."""
        return any(session.live for session in self.by_user.get(user, ()))
