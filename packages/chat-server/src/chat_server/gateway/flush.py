"""Joins what is due for a socket in one tick of the loop, and writes it once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog
from chat_common.protocol.chunk import Chunk

from chat_server.gateway.session import Connection, Session
from chat_server.gateway.wire import Framing

log = structlog.get_logger("chat.gateway")


class Flush:
    """Collects sessions that have something to write and writes at the end of the tick: `call_soon`, no timer.

    Sessions that get the same chunks share the joined bytes. A socket that takes no more is left alone until it does;
    meanwhile its session's window bounds what waits.
    """

    def __init__(self, ended: Callable[[Session], None]) -> None:
        self._ended = ended
        self._dirty: list[Session] = []
        self._pushes: list[tuple[Sequence[Session], Chunk, float]] = []
        self._scheduled = False

    def touch(self, session: Session) -> None:
        """This session may have something to write."""
        if not session.dirty:
            session.dirty = True
            self._dirty.append(session)
            self._schedule()

    def push(self, sessions: Iterable[Session], chunk: Chunk, now: float) -> None:
        """Push the chunk to all of these at the end of the tick, or when `settle` is called."""
        self._pushes.append((tuple(sessions), chunk, now))
        self._schedule()

    def settle(self) -> None:
        """Put into the windows what `push` has collected: what is pushed next comes after it."""
        pushes, self._pushes = self._pushes, []
        for sessions, chunk, now in pushes:
            for session in sessions:
                session.push(chunk, 0, now)
                self.touch(session)

    def _write_through(self) -> None:
        """Write a conversation's message directly to the sockets of sessions that have nothing else to write, which are
        most of them. The cost of a delivery is the memory that it touches, so everything is touched once."""
        (sessions, chunk, now), *_ = self._pushes
        self._pushes = []
        framing: Framing | None = None
        shared: Any = None
        for session in sessions:
            connection = session.connection
            if (
                not session.dirty
                and connection is not None
                and connection.paused_at is None
                and session.ending is None
                and session.push_through(chunk, now)
            ):
                wire = connection.wire
                try:
                    if wire.framing is not framing:
                        framing = wire.framing
                        shared = framing.pack(chunk.frames)
                    wire.write(shared)
                except Exception:
                    _drop(connection)
            else:
                session.push(chunk, 0, now)
                self.touch(session)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.run)

    def run(self) -> None:
        """Write now what was collected. A write that raises ends that one connection: its client resumes."""
        self._scheduled = False
        if len(self._pushes) == 1:
            self._write_through()
        else:
            self.settle()
        dirty, self._dirty = self._dirty, []
        packed: dict[Any, Any] = {}
        for session in dirty:
            session.dirty = False
            connection = session.connection
            if connection is None:
                continue
            try:
                if session.ending is not None:
                    self._write_last(session)
                elif connection.paused_at is None and (out := session.take()):
                    self._write(connection, out, packed)
            except Exception:
                _drop(connection)

    @staticmethod
    def _write(connection: Connection, out: Sequence[Chunk | bytes], packed: dict[Any, Any]) -> None:
        wire = connection.wire
        framing = wire.framing
        if type(out[0]) is bytes:  # An answer or a beat: nobody else's.
            wire.write(framing.pack(flat(out)))
            return
        key = (framing, *out)
        found = packed.get(key)
        if found is None:
            found = packed[key] = framing.pack(flat(out))
        wire.write(found)

    def _write_last(self, session: Session) -> None:
        """Write the bye and close the connection; drop one that takes nothing."""
        connection, ending, out = session.connection, session.ending, session.take()
        assert connection is not None
        assert ending is not None
        session.ending = None
        try:
            if connection.paused_at is None:
                connection.wire.write(connection.wire.framing.pack(flat(out)))
                connection.wire.close(ending.code, ending.reason)
            else:
                connection.wire.abort()
        finally:
            self._ended(session)


def _drop(connection: Connection) -> None:
    """Drop a connection that cannot be written to; the transport reports its end."""
    log.exception("write_failed", address=connection.wire.address)
    with contextlib.suppress(Exception):
        connection.wire.abort()


def flat(out: Iterable[Chunk | bytes]) -> list[bytes]:
    """The frames of a session's output, in order."""
    frames: list[bytes] = []
    for item in out:
        if isinstance(item, Chunk):
            frames.extend(item.frames)
        else:
            frames.append(item)
    return frames
