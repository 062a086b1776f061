"""This node's seats in the directory: taken before `welcome`, renewed while a session lives, given back exactly."""

from __future__ import annotations

from chat_common.ports.directory import Directory, Seat

from chat_server.gateway.node import Node
from chat_server.gateway.roster import Roster
from chat_server.gateway.session import Session

PAGE = 500


class Seats:
    def __init__(self, node: Node, directory: Directory, roster: Roster) -> None:
        self._node = node
        self._lease = node.settings.lease
        self._directory = directory
        self._roster = roster

    def of(self, session: Session) -> Seat:
        """The seat of this session; guests have none."""
        assert session.user is not None
        return Seat(session.user, session.device, session.id, self._node.name, self._node.boot)

    async def take(self, session: Session) -> None:
        """Sit down."""
        await self._directory.register(self.of(session), lease=self._lease)

    async def renew(self) -> None:
        """Prolong all leases of this node, page by page; seats that the directory forgot are taken anew."""
        node = self._node
        held = [session.id for session in self._roster if session.user is not None]
        for start in range(0, len(held), PAGE):
            lost = await self._directory.renew(node.name, node.boot, held[start : start + PAGE], lease=self._lease)
            for name in lost:
                session = self._roster.get(name)
                if session is not None:
                    await self.take(session)

    async def leave(self, seat: Seat) -> None:
        """Give the seat back; the directory compares, so a newer one stays."""
        await self._directory.unregister(seat)
