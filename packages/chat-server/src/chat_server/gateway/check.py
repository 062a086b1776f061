"""The beat check: once per heartbeat the log is asked whether anybody here is behind."""

from __future__ import annotations

import asyncio

import structlog
from attrs import frozen
from chat_common.protocol.closing import CloseCode
from chat_common.protocol.session import State

from chat_server.gateway.rooms import Rooms
from chat_server.gateway.sessions import Sessions
from chat_server.services import ImService

log = structlog.get_logger("chat.gateway")

PAGE = 1_000


@frozen
class Expected:
    """Where users and hot rooms were in the log when it was asked."""

    versions: dict[str, int]
    rooms: dict[str, int]


class Check:
    """The question does not take the way whose loss it reveals. Between question and verdict lies a grace, so that what
    is under way does not count. ``epoch``: the store's, as far as anybody here has heard of it."""

    def __init__(self, im: ImService, sessions: Sessions, rooms: Rooms, grace: float) -> None:
        self._im = im
        self._sessions = sessions
        self._rooms = rooms
        self._grace = grace
        self.epoch: str | None = None

    async def run(self) -> None:
        """Ask, wait for the grace, judge."""
        expected = await self.ask()
        await asyncio.sleep(self._grace)
        self.judge(expected)

    async def ask(self) -> Expected:
        """The versions of this node's users and the revs of its hot rooms, page by page."""
        self._rooms.prune()
        users, rooms = list(self._sessions.index.by_user), list(self._rooms)
        expected = Expected({}, {})
        for start in range(0, max(len(users), len(rooms)), PAGE):
            stop = start + PAGE
            heads = await self._im.heads(users[start:stop], rooms[start:stop])
            expected.versions.update(heads.versions)
            expected.rooms.update(heads.rooms)
            if self.epoch is not None and heads.epoch != self.epoch:
                log.warning("epoch_changed")
                self.epoch = heads.epoch
                self._sessions.end_all(CloseCode.EPOCH_CHANGED, "the store began a new epoch")
                return Expected({}, {})
        return expected

    def judge(self, expected: Expected) -> int:
        """Tell who is behind, and fill the gaps of hot rooms; returns how many sessions were told."""
        sessions = self._sessions
        told = 0
        for user, version in expected.versions.items():
            for session in sessions.index.by_user.get(user, ()):
                window = session.window
                if session.state is not State.OPEN or session.version >= version or window.waiting or window.lagging:
                    continue
                session.beat(behind=True)
                sessions.flush.touch(session)
                told += 1
        for conversation, rev in expected.rooms.items():
            self._rooms.catch_up(conversation, rev)
        return told
