"""Pushes from the router into the windows of the sessions concerned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from chat_common.errors import ChatError
from chat_common.protocol.chunk import Chunk
from chat_common.protocol.frames import Push as PushFrame
from chat_common.records import Push

from chat_server.gateway.marks import MarkedChunk
from chat_server.services import Delivery

if TYPE_CHECKING:
    from chat_server.gateway.gateway import Gateway

EMPTY = Chunk(())


class Deliveries:
    """Each push is encoded once for all recipients. A delivery whose revs this node has had is dropped; ``drop`` is
    asked first, for tests that plant losses."""

    def __init__(self, gateway: Gateway, drop: Callable[[Delivery], bool] | None) -> None:
        self._gateway = gateway
        self._drop = drop
        self._revs: dict[str, int] = {}  # Conversation → newest rev delivered, least recently used first.

    def take(self, deliveries: Sequence[Delivery]) -> None:
        """Put them into the windows. Never waits."""
        begun: dict[str, int] = {}
        for delivery in deliveries:
            if self._drop is None or not self._drop(delivery):
                self.put(delivery, begun)

    def put(self, delivery: Delivery, begun: dict[str, int] | None = None) -> None:
        """One of them. ``begun``: how far the conversations were when the call came, since several deliveries of one
        call may bring the same revs to different users."""
        rooms, name = self._gateway.rooms, delivery.conversation
        if delivery.users is None:
            rooms.deliver(delivery)
            return
        pushes = delivery.pushes
        if name is not None and delivery.last:
            if rooms.wait(delivery):
                return
            held = max(self.rev(name), rooms.cooled(name))
            if begun is not None:
                held = begun.setdefault(name, held)
            if delivery.last <= held:
                return
            if delivery.first <= held:
                pushes = [push for push in pushes if push.rev > held]
            self._remember(name, delivery.last)
        self._to_users(self.chunk(pushes, name), delivery.users)

    def rev(self, conversation: str) -> int:
        """The newest rev of this conversation that came here naming its recipients; 0 when none did lately."""
        return self._revs.get(conversation, 0)

    def chunk(self, pushes: Sequence[Push], conversation: str | None) -> Chunk:
        """The pushes as shared bytes; what a `push` interceptor refuses is left out."""
        intercept, encode = self._gateway.neighbours.dispatcher.intercept, self._gateway.codec.encode
        frames: list[bytes] = []
        seq = 0
        for push in pushes:
            try:
                passed: Push = intercept("push", None, push)
            except ChatError:
                continue
            data = passed.data
            if passed.since < passed.rev - 1:
                data = _with_since(data, passed.since)
            frames.append(encode(PushFrame(passed.event, data)))
            seq = max(seq, passed.seq)
        if not frames:
            return EMPTY
        if seq and conversation is not None:
            return MarkedChunk(frames, conversation, seq)
        return Chunk(frames)

    def _to_users(self, chunk: Chunk, users: Mapping[str, int]) -> None:
        now = self._gateway.now()
        by_user, touch = self._gateway.roster.by_user, self._gateway.flush.touch
        for user, version in users.items():
            for session in by_user.get(user, ()):
                session.push(chunk, version, now)
                if not session.dirty:
                    touch(session)

    def _remember(self, name: str, rev: int) -> None:
        revs = self._revs
        revs[name] = max(rev, revs.pop(name, 0))
        if len(revs) > self._gateway.settings.remembered:
            del revs[next(iter(revs))]


def _with_since(data: Any, since: int) -> dict[str, Any]:
    """A push that covers more than its own step says from where."""
    built: dict[str, Any] = dict(msgspec.to_builtins(data))
    built["since"] = since
    return built
