"""The beat check: once per heartbeat the log is asked whether anybody here is behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from attrs import frozen
from chat_common.protocol.closing import CloseCode
from chat_common.protocol.session import State

if TYPE_CHECKING:
    from chat_server.gateway.gateway import Gateway

log = structlog.get_logger("chat.gateway")

PAGE = 1_000


@frozen
class Expected:
    """Where users and hot rooms were in the log when it was asked."""

    versions: dict[str, int]
    rooms: dict[str, int]


class Check:
    """The question does not take the way whose loss it reveals. Between question and verdict lies a grace, so that what
    is under way does not count."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def run(self) -> None:
        """Ask, wait for the grace, judge."""
        expected = await self.ask()
        await asyncio.sleep(self._gateway.settings.grace)
        self.judge(expected)

    async def ask(self) -> Expected:
        """The versions of this node's users and the revs of its hot rooms, page by page."""
        gateway = self._gateway
        gateway.rooms.prune()
        users, rooms = list(gateway.roster.by_user), list(gateway.rooms)
        expected = Expected({}, {})
        for start in range(0, max(len(users), len(rooms)), PAGE):
            stop = start + PAGE
            heads = await gateway.neighbours.im.heads(users[start:stop], rooms[start:stop])
            expected.versions.update(heads.versions)
            expected.rooms.update(heads.rooms)
            if gateway.epoch is not None and heads.epoch != gateway.epoch:
                log.warning("epoch_changed")
                gateway.epoch = heads.epoch
                gateway.end_all(CloseCode.EPOCH_CHANGED, "the store began a new epoch")
                return Expected({}, {})
        return expected

    def judge(self, expected: Expected) -> int:
        """Tell who is behind, and fill the gaps of hot rooms; returns how many sessions were told."""
        gateway = self._gateway
        told = 0
        for user, version in expected.versions.items():
            for session in gateway.roster.by_user.get(user, ()):
                window = session.window
                if session.state is not State.OPEN or session.version >= version or window.waiting or window.lagging:
                    continue
                session.beat(behind=True)
                gateway.flush.touch(session)
                told += 1
        for conversation, rev in expected.rooms.items():
            gateway.rooms.catch_up(conversation, rev)
        return told
