"""Frames into as few transport messages as the protocol allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chat_common.codec import MAX_FRAMES, Codec

MAX_MESSAGE = 1 << 20
"""Bytes of one message from the server."""


def messages(codec: Codec, frames: Sequence[bytes]) -> Iterator[bytes]:
    """The frames in order, joined into messages of at most 128 frames and, unless one frame alone is larger, 1 MiB."""
    if len(frames) <= MAX_FRAMES and sum(map(len, frames)) + len(frames) + 1 <= MAX_MESSAGE:
        yield codec.join(frames)
        return
    start, size = 0, 2
    for at, frame in enumerate(frames):
        if at > start and (at - start == MAX_FRAMES or size + len(frame) > MAX_MESSAGE):
            yield codec.join(frames[start:at])
            start, size = at, 2
        size += len(frame) + 1
    yield codec.join(frames[start:])
