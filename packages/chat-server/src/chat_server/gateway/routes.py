"""This node's routes in the directory: taken before `welcome`, renewed while a session lives, given back exactly."""

from __future__ import annotations

from chat_common.ports.directory import Directory, Route

from chat_server.gateway.index import SessionIndex
from chat_server.gateway.node import Node
from chat_server.gateway.session import Session

PAGE = 500


class Routes:
    def __init__(self, node: Node, directory: Directory, index: SessionIndex) -> None:
        self._node = node
        self._lease = node.settings.lease
        self._directory = directory
        self._index = index

    def of(self, session: Session) -> Route:
        """The route of this session; guests have none."""
        assert session.user is not None
        return Route(session.user, session.device, session.id, self._node.name, self._node.boot)

    async def register(self, session: Session) -> None:
        """Register the session in the directory; if it has ended meanwhile, the giving back may have come first, so it
        is given back again."""
        route = self.of(session)
        await self._directory.register(route, lease=self._lease)
        if self._index.get(session.id) is not session:
            await self.unregister(route)

    async def renew(self) -> None:
        """Prolong all leases of this node, page by page; routes that the directory forgot are taken anew."""
        node = self._node
        held = [session.id for session in self._index if session.user is not None]
        for start in range(0, len(held), PAGE):
            lost = await self._directory.renew(node.name, node.boot, held[start : start + PAGE], lease=self._lease)
            for name in lost:
                session = self._index.get(name)
                if session is not None:
                    await self.register(session)

    async def unregister(self, route: Route) -> None:
        """Give the route back; the directory compares, so a newer one stays."""
        await self._directory.unregister(route)
