"""What was acknowledged, told to the router once a second: who has the message needs no offline push."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chat_common.protocol.chunk import Chunk

from chat_server.gateway.session import Session

if TYPE_CHECKING:
    from chat_server.gateway.gateway import Gateway


class MarkedChunk(Chunk):
    """A chunk that knows the newest message in it."""

    __slots__ = ("conversation", "seq")

    def __init__(self, frames: Sequence[bytes], conversation: str, seq: int) -> None:
        super().__init__(frames)
        self.conversation = conversation
        self.seq = seq

    def part(self, start: int, stop: int | None = None) -> Chunk:
        if stop is None:
            return MarkedChunk(self.frames[start:], self.conversation, self.seq)
        return super().part(start, stop)


class Marks:
    """Coalesced: per user and conversation the newest seq."""

    def __init__(self, gateway: Gateway, wanted: bool) -> None:
        self._gateway = gateway
        self.collector: list[Chunk] | None = [] if wanted else None
        self._marks: dict[str, dict[str, int]] = {}

    def take(self, session: Session, covered: list[Chunk]) -> None:
        """The session has all of these chunks; empties the list."""
        if session.user is not None:
            marks = self._marks.setdefault(session.user, {})
            for chunk in covered:
                if isinstance(chunk, MarkedChunk) and chunk.seq > marks.get(chunk.conversation, 0):
                    marks[chunk.conversation] = chunk.seq
        covered.clear()

    async def report(self) -> None:
        """Tell the router what came together."""
        marks, self._marks = self._marks, {}
        if marks:
            await self._gateway.neighbours.router.acknowledged(marks)
