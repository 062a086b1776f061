"""Pushes from the router into the windows of the sessions concerned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from chat_common.clock import Clock
from chat_common.protocol.chunk import Chunk

from chat_server.gateway.cursors import Cursors
from chat_server.gateway.encoding import Encoding
from chat_server.gateway.rooms import Rooms
from chat_server.gateway.sessions import Sessions
from chat_server.services import Delivery


class Deliveries:
    """A delivery whose revs this node has had is dropped; ``drop`` is asked first, for tests that plant losses."""

    def __init__(
        self,
        sessions: Sessions,
        rooms: Rooms,
        cursors: Cursors,
        encoding: Encoding,
        clock: Clock,
        drop: Callable[[Delivery], bool] | None,
    ) -> None:
        self._sessions = sessions
        self._rooms = rooms
        self._cursors = cursors
        self._encoding = encoding
        self._now = clock.monotonic
        self._drop = drop
        rooms.again.append(self.put)

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """Put them into the windows. Never waits."""
        begun: dict[str, int] = {}
        for delivery in deliveries:
            if self._drop is None or not self._drop(delivery):
                self.put(delivery, begun)

    def put(self, delivery: Delivery, begun: dict[str, int] | None = None) -> None:
        """One of them. ``begun``: how far the conversations were when the call came, since several deliveries of one
        call may bring the same revs to different users."""
        rooms, cursors, name = self._rooms, self._cursors, delivery.conversation
        if delivery.users is None:
            rooms.deliver(delivery)
            return
        pushes = delivery.pushes
        if name is not None and delivery.last:
            if rooms.wait(delivery):
                return
            held = max(cursors.rev(name), rooms.cooled(name))
            if begun is not None:
                held = begun.setdefault(name, held)
            if delivery.last <= held:
                return
            if delivery.first <= held:
                pushes = [push for push in pushes if push.rev > held]
            cursors.move(name, delivery.last)
        self._to_users(self._encoding.chunk(pushes, name), delivery.users)

    def _to_users(self, chunk: Chunk, users: Mapping[str, int]) -> None:
        now = self._now()
        by_user, touch = self._sessions.index.by_user, self._sessions.flush.touch
        for user, version in users.items():
            for session in by_user.get(user, ()):
                session.push(chunk, version, now)
                if not session.dirty:
                    touch(session)
