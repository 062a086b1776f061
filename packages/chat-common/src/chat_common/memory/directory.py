"""A directory inside the process: for one node, which knows all its routes itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from chat_common.clock import Clock
from chat_common.ports.directory import GONE, Directory, NodeRecord, Route
from chat_common.records import Backend, Context


class MemoryDirectory:
    """`chat_common.ports.directory.Directory` on dictionaries. Its size is that of the live sessions and of those
    whose lease has ended within the last lease."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._routes: dict[str, tuple[Route, float]] = {}
        self._users: dict[str, dict[str, None]] = {}
        self._nodes: dict[str, tuple[NodeRecord, float]] = {}
        self._sweep_at = self._began

    async def register(self, route: Route, *, lease: float) -> None:
        now = self._clock.monotonic()
        self._sweep(now, lease)
        self._remove(route.session)
        self._routes[route.session] = (route, now + lease)
        self._users.setdefault(route.user, {})[route.session] = None

    async def unregister(self, route: Route) -> bool:
        found = self._routes.get(route.session)
        if found is None or found[0] != route:
            return False
        self._remove(route.session)
        return found[1] > self._clock.monotonic()

    async def renew(self, node: str, boot: str, sessions: Iterable[str], *, lease: float) -> Sequence[str]:
        now = self._clock.monotonic()
        unknown = []
        for session in sessions:
            found = self._routes.get(session)
            if found is None or found[1] <= now or found[0].node != node or found[0].boot != boot:
                unknown.append(session)
            else:
                self._routes[session] = (found[0], now + lease)
        return unknown

    async def routes(self, users: Iterable[str]) -> Mapping[str, Sequence[Route]]:
        now = self._clock.monotonic()
        answer = {}
        for user in users:
            sessions = self._users.get(user)
            if sessions:
                live = [found[0] for session in sessions if (found := self._routes[session])[1] > now]
                if live:
                    answer[user] = live
        return answer

    async def announce(self, record: NodeRecord, *, lease: float) -> bool:
        now = self._clock.monotonic()
        found = self._nodes.get(record.node)
        if found is not None and found[1] > now and not _succeeds(record, found[0]):
            return False
        self._nodes[record.node] = (record, now + lease)
        return True

    async def depart(self, record: NodeRecord) -> bool:
        found = self._nodes.get(record.node)
        if found is None or found[0].boot != record.boot:
            return False
        del self._nodes[record.node]
        return found[1] > self._clock.monotonic()

    async def nodes(self) -> Mapping[str, NodeRecord]:
        now = self._clock.monotonic()
        self._nodes = {name: found for name, found in self._nodes.items() if found[1] > now - GONE}
        return {name: record for name, (record, until) in self._nodes.items() if until > now}

    async def gone(self) -> Sequence[tuple[NodeRecord, float]]:
        now = self._clock.monotonic()
        return [
            (record, now - until) for _, (record, until) in sorted(self._nodes.items()) if now - GONE < until <= now
        ]

    async def known_since(self) -> float:
        return self._clock.monotonic() - self._began

    def _remove(self, session: str) -> None:
        found = self._routes.pop(session, None)
        if found is not None:
            of_user = self._users[found[0].user]
            del of_user[session]
            if not of_user:
                del self._users[found[0].user]

    def _sweep(self, now: float, lease: float) -> None:
        if now < self._sweep_at:
            return
        self._sweep_at = now + lease
        for session in [session for session, (_, expires) in self._routes.items() if expires <= now]:
            self._remove(session)


def _succeeds(record: NodeRecord, other: NodeRecord) -> bool:
    return record.boot == other.boot or record.started > other.started


@asynccontextmanager
async def _open(context: Context) -> AsyncIterator[Directory]:
    yield MemoryDirectory(context.clock)


MEMORY_DIRECTORY = Backend(Directory, "memory", _open, summary="Inside the process: for one node.", default=True)
