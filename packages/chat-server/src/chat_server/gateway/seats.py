"""This node's seats in the directory: taken before `welcome`, renewed while a session lives, given back exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chat_common.ports.directory import Seat

from chat_server.gateway.session import Session

if TYPE_CHECKING:
    from chat_server.gateway.gateway import Gateway

PAGE = 500


class Seats:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def of(self, session: Session) -> Seat:
        """The seat of this session; guests have none."""
        assert session.user is not None
        return Seat(session.user, session.device, session.id, self._gateway.node, self._gateway.boot)

    async def renew(self) -> None:
        """Prolong all leases of this node, page by page; seats that the directory forgot are taken anew."""
        gateway = self._gateway
        directory, lease = gateway.neighbours.directory, gateway.settings.lease
        held = [session.id for session in gateway.roster if session.user is not None]
        for start in range(0, len(held), PAGE):
            lost = await directory.renew(gateway.node, gateway.boot, held[start : start + PAGE], lease=lease)
            for name in lost:
                session = gateway.roster.get(name)
                if session is not None:
                    await directory.register(self.of(session), lease=lease)

    async def leave(self, seat: Seat) -> None:
        """Give the seat back; the directory compares, so a newer one stays."""
        await self._gateway.neighbours.directory.unregister(seat)
