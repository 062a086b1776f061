"""Who is there: told to those who watch and may know."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Annotated

from attrs import define
from chat_common.errors import Invalid
from chat_common.events import PresenceChanged
from chat_common.ports.directory import Directory
from chat_common.protocol.frames import Note
from chat_common.records import Caller
from chat_common.wire import Id
from msgspec import Meta

from chat_server.gateway.node import Node
from chat_server.gateway.session import Session
from chat_server.gateway.sessions import Sessions
from chat_server.gateway.tasks import Tasks
from chat_server.services import ImService

PAGE = 1_000


@define(kw_only=True)
class WatchPresence:
    """Replaces the session's former list; an empty one ends the watching."""

    users: Annotated[list[Id], Meta(max_length=200)]


@define(kw_only=True)
class Watched:
    online: list[str]


class Presence:
    """Changes on this node are told at once (a going after ``patience`` seconds, since most come back), those on other
    nodes when `poll` asks the directory. A stranger is silently offline."""

    def __init__(
        self,
        node: Node,
        im: ImService,
        directory: Directory,
        sessions: Sessions,
        tasks: Tasks,
        patience: float = 2.0,
    ) -> None:
        self._node = node.name
        self._encode = node.codec.encode
        self._im = im
        self._directory = directory
        self._sessions = sessions
        self._tasks = tasks
        self._patience = patience
        self._watchers: dict[str, set[Session]] = {}
        self._told: dict[str, bool] = {}  # Of the watched alone.
        self._leaving: set[str] = set()

    async def watch(self, caller: Caller, request: WatchPresence) -> Watched:
        """The command ``presence.watch``: those of the list that are online; changes follow as notes."""
        session = self._sessions.index.get(caller.session or "")
        if session is None or caller.user is None or session.user != caller.user:
            raise Invalid("presence is watched over a session's own connection")
        users = list(dict.fromkeys(request.users))
        known = set(await self._im.acquainted(caller.user, users)) if users else set()
        allowed = [user for user in users if user in known]
        online = await self._online(allowed)
        if self._sessions.index.get(session.id) is not session:
            return Watched(online=[])  # It has ended meanwhile, and nobody would take it off the list again.
        self.forget(session)
        session.watching = frozenset(allowed)
        for user in allowed:
            self._watchers.setdefault(user, set()).add(session)
            self._told[user] = user in online
        return Watched(online=[user for user in allowed if user in online])

    def forget(self, session: Session) -> None:
        """This session watches nobody any more."""
        for user in session.watching:
            watchers = self._watchers.get(user)
            if watchers is not None:
                watchers.discard(session)
                if not watchers:
                    del self._watchers[user]
                    self._told.pop(user, None)
        session.watching = frozenset()

    def came(self, user: str) -> None:
        """A session of this user has a connection."""
        if user in self._watchers:
            self._tell(user, True)

    def left(self, user: str) -> None:
        """A connection of this user is gone."""
        if user in self._watchers and user not in self._leaving and not self._sessions.index.online(user):
            self._leaving.add(user)
            asyncio.get_running_loop().call_later(self._patience, self._look_again, user)

    async def poll(self) -> None:
        """Ask the directory after all who are watched here, page by page, and tell what has changed."""
        watched = list(self._watchers)
        for start in range(0, len(watched), PAGE):
            page = watched[start : start + PAGE]
            online = await self._online(page)
            for user in page:
                if user not in self._leaving:
                    self._tell(user, user in online)

    def _look_again(self, user: str) -> None:
        self._leaving.discard(user)
        if user in self._watchers:
            self._tasks.spawn(self._recheck(user))

    async def _recheck(self, user: str) -> None:
        self._tell(user, user in await self._online([user]))

    async def _online(self, users: Iterable[str]) -> set[str]:
        """Who has a connection here, or a route on another node."""
        users = list(users)
        routes = await self._directory.routes(users) if users else {}
        # This node's own state last: whoever merges it does so in the same turn, so that no coming falls in between.
        here = {user for user in users if self._sessions.index.online(user)}
        here.update(user for user, held in routes.items() if any(route.node != self._node for route in held))
        return here

    def _tell(self, user: str, online: bool) -> None:
        if self._told.get(user) is online or user not in self._watchers:
            return
        self._told[user] = online
        note = self._encode(Note("presence", PresenceChanged(user=user, online=online)))
        for session in self._watchers[user]:
            if session.live:
                session.note(note)
                self._sessions.flush.touch(session)
