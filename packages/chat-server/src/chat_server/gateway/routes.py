"""This node's routes in the directory: taken before `welcome`, renewed while a session lives, given back exactly."""

from __future__ import annotations

import asyncio
import random

import structlog
from chat_common.errors import Unavailable
from chat_common.ports.directory import Directory, Route

from chat_server.gateway.index import SessionIndex
from chat_server.gateway.node import Node
from chat_server.gateway.session import Session

log = structlog.get_logger("chat.gateway")

PAGE = 500
JITTER = 0.05
"""Seconds, at most, between two pages that are written to a directory which has lost them: others write theirs too."""
AGAIN = 1.0
"""Seconds after which a directory that was away is written to again."""


class Routes:
    """``wanted`` is set when the leases are to be renewed now: the directory has forgotten routes, or was away."""

    def __init__(self, node: Node, directory: Directory, index: SessionIndex) -> None:
        self._node = node
        self._lease = node.settings.lease
        self._directory = directory
        self._index = index
        self.wanted = asyncio.Event()
        self._waiting = False

    def of(self, session: Session) -> Route:
        """The route of this session; guests have none."""
        assert session.user is not None
        return Route(session.user, session.device, session.id, self._node.name, self._node.boot)

    async def register(self, session: Session) -> None:
        """Register the session in the directory; if it has ended meanwhile, the giving back may have come first, so it
        is given back again. A directory that is away keeps nobody out: nodes that cannot ask it deliver to all, and
        the renewal that follows finds that the route is missing."""
        route = self.of(session)
        try:
            await self._directory.register(route, lease=self._lease)
        except Unavailable as error:
            log.warning("route_not_registered", session=session.id, reason=error.message)
            self._renew_soon()
            return
        if self._index.get(session.id) is not session:
            await self.unregister(route)

    async def renew(self) -> None:
        """Prolong all leases of this node, page by page; routes that the directory forgot are taken anew."""
        node = self._node
        held = [session.id for session in self._index if session.user is not None]
        for start in range(0, len(held), PAGE):
            try:
                lost = await self._directory.renew(node.name, node.boot, held[start : start + PAGE], lease=self._lease)
            except Unavailable:
                self._renew_soon()
                raise
            found = [session for name in lost if (session := self._index.get(name)) is not None]
            if found:
                await asyncio.gather(*(self.register(session) for session in found))
                await asyncio.sleep(random.uniform(0, JITTER))

    async def unregister(self, route: Route) -> None:
        """Give the route back; the directory compares, so a newer one stays. One that is away forgets it with the end
        of its lease."""
        try:
            await self._directory.unregister(route)
        except Unavailable as error:
            log.warning("route_not_given_back", session=route.session, reason=error.message)

    def _renew_soon(self) -> None:
        if not self._waiting:
            self._waiting = True
            asyncio.get_running_loop().call_later(AGAIN, self._want)

    def _want(self) -> None:
        self._waiting = False
        self.wanted.set()
