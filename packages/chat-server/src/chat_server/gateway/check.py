"""The check: once per heartbeat the log is asked whether anybody here is behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from attrs import frozen
from chat_common.protocol.closing import CloseCode
from chat_common.protocol.session import State

from chat_server.gateway.sessions import Sessions
from chat_server.gateway.streams import Streams
from chat_server.services import HeadsAsked, ImService

log = structlog.get_logger("chat.gateway")

PAGE = 1_000
OVERLAP_MS = 60_000
"""How far before its last answer the check asks for hot conversations again: commits come out of order, and the clocks
of two nodes differ."""


@frozen
class Expected:
    """Where users and conversations stood in the log when it was asked; ``hot``: also those that were not asked for."""

    versions: dict[str, int]
    rooms: dict[str, int]
    hot: dict[str, tuple[int, int]]


class Check:
    """Finds lost deliveries by asking the log, since a question sent the way of the deliveries could be lost with them.

    The verdict waits for a grace after the question, so that deliveries under way do not count as lost; it compares
    numbers, so a session that has caught up meanwhile is not behind."""

    def __init__(
        self, im: ImService, sessions: Sessions, streams: Streams, wall_ms: Callable[[], int], grace: float
    ) -> None:
        self._im = im
        self._sessions = sessions
        self._streams = streams
        self._grace = grace
        self._hot_since = wall_ms()
        self.wanted = asyncio.Event()
        """Set: the next run is due now."""

    def hurry(self) -> None:
        """Something for this node is known to be lost: do not wait for the next heartbeat."""
        self.wanted.set()

    async def run(self) -> None:
        """Ask, wait for the grace, judge."""
        expected = await self.ask()
        await asyncio.sleep(self._grace)
        self.judge(expected)

    async def ask(self) -> Expected:
        """The versions of this node's users and the revs of its hot conversations, page by page; and of all those in
        which something has happened since the last question, for one of our users may have come into them unheard."""
        sessions = self._sessions
        users, rooms = list(sessions.index.by_user), self._streams.watched()
        expected = Expected({}, {}, {})
        start, since, more = 0, self._hot_since - OVERLAP_MS, False
        newest = self._hot_since
        while start < max(len(users), len(rooms)) or more:
            stop = start + PAGE
            heads = await self._im.heads(HeadsAsked(users[start:stop], rooms[start:stop], since))
            start, since, more = stop, heads.until, heads.more
            expected.versions.update(heads.versions)
            expected.rooms.update(heads.rooms)
            expected.hot.update(heads.hot)
            newest = max(newest, since)
            if sessions.epoch is not None and heads.epoch != sessions.epoch:
                log.warning("epoch_changed")
                sessions.epoch = heads.epoch
                self._streams.forget_all()
                sessions.end_all(CloseCode.EPOCH_CHANGED, "the store began a new epoch")
                return Expected({}, {}, {})
        # Moved only when all pages are there: what a question that failed had found is asked for again.
        self._hot_since = newest
        return expected

    def judge(self, expected: Expected) -> int:
        """Tell sessions that are behind, and have streams read what they lack; returns how many sessions were told."""
        sessions = self._sessions
        told = self._streams.tell_refused()
        for user, version in expected.versions.items():
            for session in sessions.index.by_user.get(user, ()):
                window = session.window
                if session.state is not State.OPEN or session.version >= version or window.waiting or window.lagging:
                    continue
                session.beat(behind=True)
                sessions.flush.touch(session)
                told += 1
        for conversation, rev in expected.rooms.items():
            self._streams.catch_up(conversation, rev)
        for conversation, (rev, hot_at) in expected.hot.items():
            self._streams.is_hot(conversation, rev, hot_at)
        return told
