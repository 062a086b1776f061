"""Pushes as shared bytes: each encoded once for all who get it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from chat_common.codec import Codec
from chat_common.errors import ChatError
from chat_common.protocol.chunk import Chunk
from chat_common.protocol.frames import Push as PushFrame
from chat_common.records import Push

from chat_server.services import Dispatcher

EMPTY = Chunk(())


class MessageChunk(Chunk):
    """A chunk that knows the newest message in it."""

    __slots__ = ("conversation", "seq")

    def __init__(self, frames: Sequence[bytes], conversation: str, seq: int) -> None:
        super().__init__(frames)
        self.conversation = conversation
        self.seq = seq

    def part(self, start: int, stop: int | None = None) -> Chunk:
        if stop is None:
            return MessageChunk(self.frames[start:], self.conversation, self.seq)
        return super().part(start, stop)


class Encoding:
    """What a `push` interceptor refuses is left out."""

    def __init__(self, codec: Codec, dispatcher: Dispatcher) -> None:
        self._encode = codec.encode
        self._intercept = dispatcher.intercept

    def chunk(self, pushes: Sequence[Push], conversation: str | None = None) -> Chunk:
        frames: list[bytes] = []
        seq = 0
        for push in pushes:
            try:
                passed: Push = self._intercept("push", None, push)
            except ChatError:
                continue
            data = passed.data
            if passed.since < passed.rev - 1:
                data = _with_since(data, passed.since)
            frames.append(self._encode(PushFrame(passed.event, data)))
            seq = max(seq, passed.seq)
        if not frames:
            return EMPTY
        if seq and conversation is not None:
            return MessageChunk(frames, conversation, seq)
        return Chunk(frames)


def _with_since(data: Any, since: int) -> dict[str, Any]:
    """A push that covers more than its own step says from where."""
    built: dict[str, Any] = dict(msgspec.to_builtins(data))
    built["since"] = since
    return built
