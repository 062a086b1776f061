"""Who is there: told to those who watch and, at the moment of telling, may know."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Annotated

import structlog
from attrs import define, field
from chat_common.errors import ChatError, Invalid
from chat_common.events import PresenceChanged
from chat_common.protocol.frames import Note
from chat_common.records import Caller, Command
from chat_common.wire import Id
from msgspec import Meta

from chat_server.gateway.node import Node
from chat_server.gateway.session import Session
from chat_server.gateway.sessions import Sessions
from chat_server.gateway.tasks import Tasks
from chat_server.services import ImService, Movements, RouterService

log = structlog.get_logger("chat.gateway")

PAGE = 1_000
TOGETHER = 100
"""Users about whose watchers one question asks."""
READINGS = 3
"""How often a watch is read anew because something changed meanwhile; what changes after that is told as a note."""
TELL_AFTER = 0.1
"""Seconds for which comings and goings are collected before the other nodes are told of them."""


@define(kw_only=True)
class WatchPresence:
    """Replaces the session's former list; an empty one ends the watching."""

    users: Annotated[list[Id], Meta(max_length=200)]


@define(kw_only=True)
class Watched:
    online: list[str]


async def watch_nowhere(caller: Caller, request: WatchPresence) -> Watched:
    """The command ``presence.watch`` where there are no sessions."""
    raise Invalid("Presence can be watched only from a session with a connection.")


def presence_command(handler: Callable[[Caller, WatchPresence], Awaitable[Watched]]) -> Command:
    """The command ``presence.watch``."""
    summary = "Whose coming and going one wants to hear of."
    return Command("presence.watch", WatchPresence, Watched, handler, summary=summary, cost=3)


@define
class _Due:
    """What the watchers of a user knew before, and what is to be told. ``whose``: these sessions alone; None: all."""

    before: bool
    online: bool
    whose: set[Session] | None = field(factory=set)


class Presence:
    """Changes are told at once (a going after ``patience`` seconds, since most come back), those on other nodes as soon
    as these have told of them; what that has missed is found by `poll`. A stranger is silently offline.

    Nothing is told of a state that was read after the question whether it may be told: first the state, then the
    rights, then the note, in this order. So what happens after a block is told to nobody across it, whatever else is
    lost; `parted` asks at once, instead of with the next change.
    """

    def __init__(
        self,
        node: Node,
        im: ImService,
        router: RouterService,
        sessions: Sessions,
        tasks: Tasks,
        patience: float = 2.0,
    ) -> None:
        self._encode = node.codec.encode
        self._im = im
        self._router = router
        self._sessions = sessions
        self._tasks = tasks
        self._patience = patience
        self._watchers: dict[str, set[Session]] = {}
        self._told: dict[str, bool] = {}  # Of the watched alone.
        self._leaving: set[str] = set()
        self._due: dict[str, _Due] = {}
        self._asking = False
        self._reading: dict[Session, frozenset[str]] = {}  # Whom a running `watch` asks about.
        self._stale: set[Session] = set()  # Of these: something has changed since.
        self._moved: tuple[set[str], set[str]] | None = None  # Who came and who left, not told to other nodes yet.

    async def watch(self, caller: Caller, request: WatchPresence) -> Watched:
        """The command ``presence.watch``: those of the list that are online; changes follow as notes."""
        session = self._sessions.index.get(caller.session or "")
        if session is None or caller.user is None or session.user != caller.user:
            return await watch_nowhere(caller, request)
        users = list(dict.fromkeys(request.users))
        wanted = self._reading[session] = frozenset(users)
        try:
            for _ in range(READINGS):
                self._stale.discard(session)
                online = await self._online(users)
                known = set((await self._im.acquainted({caller.user: users}))[caller.user]) if users else set()
                if session not in self._stale:
                    break
            if self._sessions.index.get(session.id) is not session or self._reading.get(session) is not wanted:
                # It has ended meanwhile, and nobody would take it off the list again; or it has asked for another one.
                return Watched(online=[])
            allowed = [user for user in users if user in known]
            self.forget(session)
            session.watching = frozenset(allowed)
            for user in allowed:
                self._watchers.setdefault(user, set()).add(session)
                self._told.setdefault(user, user in online)
                self._tell(user, user in online)
            if session in self._stale:
                self._ask_again([session])
        finally:
            if self._reading.get(session) is wanted:
                del self._reading[session]
                self._stale.discard(session)
        return Watched(online=[user for user in allowed if user in online])

    def forget(self, session: Session) -> None:
        """This session watches nobody any more."""
        for user in session.watching:
            self._drop(session, user)
        session.watching = frozenset()

    def came(self, user: str) -> None:
        """A session of this user has a connection."""
        self._moving()[0].add(user)
        self._outdate([user])
        self._tell(user, True)

    def left(self, user: str) -> None:
        """A connection of this user is gone."""
        self._outdate([user])
        if not self._sessions.index.online(user):
            self._moving()[1].add(user)
            self._may_be_gone(user)

    def moved(self, movements: Movements) -> None:
        """The same on another node."""
        self._outdate([*movements.came, *movements.left])
        for user in movements.came:
            if user in self._watchers and not self._told[user]:
                self._tasks.spawn(self._recheck(user))
        for user in movements.left:
            self._may_be_gone(user)

    def parted(self, users: Collection[str]) -> None:
        """These users have fewer acquaintances now: whoever watches one of them, and whom they watch, is asked about
        again, and who may not be seen any more is offline from now on."""
        self._outdate(users)
        for user in users:
            if user in self._watchers:
                self._put(user, self._told[user], None)
        self._ask_again(self._sessions.index.of(users))

    async def poll(self) -> None:
        """Ask after all who are watched here, page by page, and tell what has changed."""
        watched = list(self._watchers)
        for start in range(0, len(watched), PAGE):
            page = watched[start : start + PAGE]
            online = await self._online(page)
            for user in page:
                if user not in self._leaving:
                    self._tell(user, user in online)

    def _may_be_gone(self, user: str) -> None:
        if user in self._watchers and user not in self._leaving:
            self._leaving.add(user)
            asyncio.get_running_loop().call_later(self._patience, self._look_again, user)

    def _moving(self) -> tuple[set[str], set[str]]:
        if self._moved is None:
            self._moved = set(), set()
            asyncio.get_running_loop().call_later(TELL_AFTER, self._tell_others)
        return self._moved

    def _tell_others(self) -> None:
        assert self._moved is not None
        (came, left), self._moved = self._moved, None
        self._tasks.spawn(self._router.moved(Movements(sorted(came), sorted(left))))

    def _look_again(self, user: str) -> None:
        self._leaving.discard(user)
        if user in self._watchers:
            self._tasks.spawn(self._recheck(user))

    async def _recheck(self, user: str) -> None:
        self._tell(user, user in await self._online([user]))

    async def _online(self, users: Sequence[str]) -> set[str]:
        """Who has a connection, here or on another node."""
        found = set(await self._router.elsewhere(users)) if users else set()
        # This node's own state last: whoever merges it does so in the same turn, so that no coming falls in between.
        found.update(user for user in users if self._sessions.index.online(user))
        return found

    # --- telling --------------------------------------------------------------------------------------------------

    def _outdate(self, users: Collection[str]) -> None:
        """What a running `watch` has read of these users, or of their rights, is old."""
        for session, wanted in self._reading.items():
            if session.user in users or not wanted.isdisjoint(users):
                self._stale.add(session)

    def _tell(self, user: str, online: bool) -> None:
        if user in self._watchers and self._told[user] is not online:
            self._put(user, online, None)

    def _ask_again(self, sessions: Iterable[Session]) -> None:
        for session in sessions:
            for user in session.watching:
                self._put(user, self._told[user], session)

    def _put(self, user: str, online: bool, session: Session | None) -> None:
        """To be told to this session, or to all who watch; see `_settle`."""
        due = self._due.get(user)
        if due is None:
            due = self._due[user] = _Due(self._told[user], online)
        due.online = self._told[user] = online
        if session is None:
            due.whose = None
        elif due.whose is not None:
            due.whose.add(session)
        if not self._asking:
            self._asking = True
            self._tasks.spawn(self._settle())

    async def _settle(self) -> None:
        """Ask who may know, and tell; one question at a time, about all that is due."""
        try:
            while self._due:
                batch = {user: self._due.pop(user) for user in list(islice(self._due, TOGETHER))}
                asked = {user: self._whom(user, due) for user, due in batch.items()}
                pairs: dict[str, list[str]] = {}
                for user, sessions in asked.items():
                    for name in {session.user for session in sessions}:
                        pairs.setdefault(name or "", []).append(user)
                try:
                    shown = await self._im.acquainted(pairs) if pairs else {}
                except ChatError as error:
                    log.warning("presence_not_told", code=error.code, users=len(batch))
                    for user, due in batch.items():  # The next poll tells it.
                        if user in self._told and user not in self._due:
                            self._told[user] = due.before
                    continue
                for user, sessions in asked.items():
                    self._say(user, batch[user], sessions, shown)
        finally:
            self._asking = False

    def _whom(self, user: str, due: _Due) -> list[Session]:
        """Whose watching is asked about. Of those without a connection only who has parted: they are told nothing."""
        watchers = self._watchers.get(user, set())
        if due.whose is not None:
            return [session for session in due.whose if session in watchers]
        return [session for session in watchers if session.live or due.before is due.online]

    def _say(self, user: str, due: _Due, sessions: Iterable[Session], shown: Mapping[str, Collection[str]]) -> None:
        for session in sessions:
            if user not in session.watching:
                continue
            if user in shown.get(session.user or "", ()):
                if due.before is not due.online:
                    self._note(session, user, due.online)
            else:
                self._drop(session, user)
                session.watching -= {user}
                if due.before:
                    self._note(session, user, False)

    def _drop(self, session: Session, user: str) -> None:
        watchers = self._watchers.get(user)
        if watchers is not None:
            watchers.discard(session)
            if not watchers:
                del self._watchers[user]
                self._told.pop(user, None)
                self._due.pop(user, None)

    def _note(self, session: Session, user: str, online: bool) -> None:
        if session.live:
            session.note(self._encode(Note("presence", PresenceChanged(user=user, online=online))))
            self._sessions.flush.touch(session)
