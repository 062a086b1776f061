"""Acknowledgements, reported once a second: a user who has the message needs no offline push."""

from __future__ import annotations

from chat_common.protocol.chunk import Chunk

from chat_server.gateway.encoding import MessageChunk
from chat_server.gateway.session import Session
from chat_server.services import PushService


class Acknowledgements:
    """Coalesced: the newest seq of each user and conversation. ``collector`` is None where nobody wants them."""

    def __init__(self, push: PushService, wanted: bool) -> None:
        self._push = push
        self.collector: list[Chunk] | None = [] if wanted else None
        self._newest: dict[str, dict[str, int]] = {}

    def take(self, session: Session, covered: list[Chunk]) -> None:
        """The session has all of these chunks; empties the list."""
        if session.user is not None:
            acknowledgements = self._newest.setdefault(session.user, {})
            for chunk in covered:
                if isinstance(chunk, MessageChunk) and chunk.seq > acknowledgements.get(chunk.conversation, 0):
                    acknowledgements[chunk.conversation] = chunk.seq
        covered.clear()

    async def report(self) -> None:
        """Tell what has been collected."""
        acknowledgements, self._newest = self._newest, {}
        if acknowledgements:
            await self._push.acknowledged(acknowledgements)
