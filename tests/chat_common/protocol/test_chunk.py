"""Encoded frames that travel together."""

from __future__ import annotations

from chat_common.protocol.chunk import Chunk


def test_it_counts_frames_and_bytes_and_shares_them() -> None:
    frames = [b"one", b"three"]
    chunk = Chunk(frames)
    frames.clear()
    assert (chunk.count, chunk.size) == (2, 8)
    part = chunk.part(1)
    assert part.frames == (b"three",)
    assert part.frames[0] is chunk.frames[1]
    assert (part.count, part.size) == (1, 5)


def test_two_chunks_of_the_same_bytes_are_two() -> None:
    assert Chunk([b"x"]) != Chunk([b"x"])
