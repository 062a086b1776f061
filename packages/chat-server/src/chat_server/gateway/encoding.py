"""Pushes as shared bytes: each encoded once for all who get it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import structlog
from chat_common.codec import Codec
from chat_common.errors import ChatError
from chat_common.protocol.chunk import Chunk
from chat_common.protocol.frames import Push as PushFrame
from chat_common.records import Push

from chat_server.services import Gate

log = structlog.get_logger("chat.gateway")
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
    """Passes pushes through the `push` interceptors, and encodes them."""

    def __init__(self, codec: Codec, gate: Gate) -> None:
        self._encode = codec.encode
        self._intercept = gate.intercept

    def chunk(self, pushes: Sequence[Push], conversation: str | None = None) -> tuple[Chunk, bool]:
        """The pushes, and whether all of them are in it: one that is refused, or cannot be encoded, is a lost push."""
        frames: list[bytes] = []
        seq = 0
        for push in pushes:
            try:
                frames.append(self._frame(push))
            except ChatError:
                continue
            except Exception:
                log.exception("push_not_encoded", event=push.event, conversation=push.conversation, rev=push.rev)
                continue
            seq = max(seq, push.seq)
        whole = len(frames) == len(pushes)
        if not frames:
            return EMPTY, whole
        if seq and conversation is not None:
            return MessageChunk(frames, conversation, seq), whole
        return Chunk(frames), whole

    def _frame(self, push: Push) -> bytes:
        passed: Push = self._intercept("push", None, push)
        data = passed.data
        if passed.since < passed.rev - 1:
            data = _with_since(data, passed.since)
        return self._encode(PushFrame(passed.event, data))


def _with_since(data: Any, since: int) -> dict[str, Any]:
    """A push that covers more than its own step says from where."""
    built: dict[str, Any] = dict(msgspec.to_builtins(data))
    built["since"] = since
    return built
