"""Encoded pushes, shared by everybody who gets them."""

from __future__ import annotations

from collections.abc import Sequence


class Chunk:
    """One or several encoded frames that travel together: immutable, compared by identity, held by reference.

    A window keeps chunks, never copies: a push to a thousand sessions is encoded once and exists once.
    ``count`` is in frames, ``size`` in bytes.
    """

    __slots__ = ("count", "frames", "size")

    def __init__(self, frames: Sequence[bytes]) -> None:
        self.frames = tuple(frames)
        self.count = len(self.frames)
        self.size = sum(map(len, self.frames))

    def part(self, start: int, stop: int | None = None) -> Chunk:
        """Some of the frames as a chunk of its own; the bytes stay shared."""
        return Chunk(self.frames[start:stop])
