"""The sliding window of one session: what was sent and not acknowledged, and what waits behind it."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from chat_common.protocol.chunk import Chunk


@frozen
class WindowLimits:
    """``frames`` and ``size`` (bytes) bound what is in flight, the others what waits behind it.

    One frame may always be in flight, however large: else it could never be sent.
    """

    frames: int = 256
    size: int = 1 << 20
    backlog_frames: int = 1024
    backlog_size: int = 4 << 20


class Window:
    """Keeps references to chunks from their sending to their acknowledgement; counts, never numbers, the frames.

    ``send`` is the fast path. What it refuses is given to `hold`; `release` then says what may be sent as room is made.
    When the backlog is full it is dropped, later pushes are dropped too, and as soon as there is room one ``lagged``
    chunk is sent in their stead: nothing is ever left out without that.

    ``sent`` and ``acked``: frames, in all; ``flight``: the chunks between the two, ``size`` their bytes; ``waiting``:
    frames in the backlog.
    """

    __slots__ = ("_backlog", "_lagged", "_skip", "_waiting_size", "acked", "flight", "lagging", "limits",
                 "sent", "size", "waiting")  # fmt: skip

    def __init__(self, limits: WindowLimits, lagged: Chunk) -> None:
        self.limits = limits
        self.sent = 0
        self.acked = 0
        self.size = 0
        self.lagging = False
        self._lagged = lagged
        self.flight: list[Chunk] = []
        self._skip = 0  # Frames of the first chunk in flight that are acknowledged already.
        self._backlog: list[tuple[Chunk, int]] = []
        self.waiting = 0
        self._waiting_size = 0

    @property
    def in_flight(self) -> int:
        """Frames sent and not acknowledged."""
        return self.sent - self.acked

    @property
    def held(self) -> int:
        """Bytes that this window keeps alive in flight and in the backlog."""
        return self.size + self._waiting_size

    def send(self, chunk: Chunk) -> bool:
        """Count the chunk as sent if all of it fits and nothing waits before it; otherwise only return False."""
        limits = self.limits
        if (
            self.waiting
            or self.lagging
            or self.sent - self.acked + chunk.count > limits.frames
            or self.size + chunk.size > limits.size
        ):
            return False
        self.flight.append(chunk)
        self.sent += chunk.count
        self.size += chunk.size
        return True

    def hold(self, chunk: Chunk, version: int = 0) -> None:
        """Keep the chunk, and the version it brings, behind what waits; over the limit drop all that waits.

        An empty chunk, which only brings a version, weighs as much as one frame.
        """
        if self.lagging:
            return
        weight = chunk.count or 1
        if (
            self.waiting + weight > self.limits.backlog_frames
            or self._waiting_size + chunk.size > self.limits.backlog_size
        ):
            self.lagging = True
            self._backlog = []
            self.waiting = self._waiting_size = 0
            return
        self._backlog.append((chunk, version))
        self.waiting += weight
        self._waiting_size += chunk.size

    def release(self) -> Iterator[tuple[Chunk, int]]:
        """Send what fits now, in order: each chunk with the version that it completes (0: none)."""
        while self._backlog:
            chunk, version = self._backlog[0]
            if chunk.count == 0:
                del self._backlog[0]
                self.waiting -= 1
                yield chunk, version
                continue
            fit = self._fit(chunk)
            if fit == 0:
                return
            if fit == chunk.count:
                del self._backlog[0]
            else:
                self._backlog[0] = (chunk.part(fit), version)
                chunk, version = chunk.part(0, fit), 0
            self.waiting -= chunk.count
            self._waiting_size -= chunk.size
            self._take(chunk)
            yield chunk, version
        if self.lagging and self._fit(self._lagged):
            self.lagging = False
            self._take(self._lagged)
            yield self._lagged, 0

    def ack(self, received: int, covered: list[Chunk] | None = None) -> bool:
        """Forget what the client has, ``received`` in all; False when that is nothing new.

        Chunks that the client has completely are added to ``covered``. Raises ValueError when it was never sent.
        """
        if received > self.sent:
            raise ValueError(f"received is {received}, but only {self.sent} were sent")
        fresh = received - self.acked
        if fresh <= 0:
            return False
        self.acked = received
        if received == self.sent:
            if covered is not None:
                covered.extend(self.flight)
            self.flight.clear()
            self._skip = self.size = 0
            return True
        done = 0
        fresh += self._skip
        skip = self._skip
        for chunk in self.flight:
            if fresh < chunk.count:
                break
            self.size -= chunk.size if skip == 0 else sum(map(len, chunk.frames[skip:]))
            fresh -= chunk.count
            skip = 0
            done += 1
        if covered is not None:
            covered.extend(self.flight[:done])
        del self.flight[:done]
        if fresh > skip:
            self.size -= sum(map(len, self.flight[0].frames[skip:fresh]))
        self._skip = fresh
        return True

    def resume(self, received: int) -> list[Chunk] | None:
        """What to send again after ``received``, oldest first; None, and nothing done, if that number is impossible."""
        if not self.acked <= received <= self.sent:
            return None
        self.ack(received)
        again = self.flight[:]
        if self._skip:
            again[0] = again[0].part(self._skip)
        return again

    def _take(self, chunk: Chunk) -> None:
        self.flight.append(chunk)
        self.sent += chunk.count
        self.size += chunk.size

    def _fit(self, chunk: Chunk) -> int:
        """How many of the chunk's frames may be sent now."""
        room = self.limits.frames - (self.sent - self.acked)
        space = self.limits.size - self.size
        if room >= chunk.count and space >= chunk.size:
            return chunk.count
        fit = 0
        for frame in chunk.frames[: max(room, 0)]:
            if len(frame) > space:
                break
            space -= len(frame)
            fit += 1
        return fit or int(self.sent == self.acked)
