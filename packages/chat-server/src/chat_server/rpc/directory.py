"""The directory of a machine without Redis: one node keeps it in memory, the others ask that node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import msgspec
from attrs import frozen
from chat_common.errors import Unavailable
from chat_common.ports.directory import Directory, NodeRecord, Route
from chat_common.ports.rpc import methods_of

from chat_server.rpc.link import Link

SERVICE = "directory"
DEADLINE = 2.0
"""Seconds that a question may take."""


@frozen
class Announcement:
    record: NodeRecord
    lease: float


@frozen
class Registration:
    route: Route
    lease: float


@frozen
class Renewal:
    node: str
    boot: str
    sessions: Sequence[str]
    lease: float


@frozen
class Gone:
    """Without a word, so many seconds ago."""

    record: NodeRecord
    since: float


@frozen
class Question:
    """One about all of it."""


class DirectoryService(Protocol):
    """`Directory`, one record a method."""

    async def announce(self, announcement: Announcement) -> bool: ...

    async def depart(self, record: NodeRecord) -> bool: ...

    async def register(self, registration: Registration) -> None: ...

    async def unregister(self, route: Route) -> bool: ...

    async def renew(self, renewal: Renewal) -> Sequence[str]: ...

    async def routes(self, users: Sequence[str]) -> Mapping[str, Sequence[Route]]: ...

    async def nodes(self, question: Question) -> Mapping[str, NodeRecord]: ...

    async def gone(self, question: Question) -> Sequence[Gone]: ...

    async def known_since(self, question: Question) -> float: ...


METHODS = methods_of(DirectoryService)


@frozen
class DirectoryEndpoint:
    """The `DirectoryService` of the node that keeps it."""

    directory: Directory

    async def announce(self, announcement: Announcement) -> bool:
        return await self.directory.announce(announcement.record, lease=announcement.lease)

    async def depart(self, record: NodeRecord) -> bool:
        return await self.directory.depart(record)

    async def register(self, registration: Registration) -> None:
        await self.directory.register(registration.route, lease=registration.lease)

    async def unregister(self, route: Route) -> bool:
        return await self.directory.unregister(route)

    async def renew(self, renewal: Renewal) -> Sequence[str]:
        return await self.directory.renew(renewal.node, renewal.boot, renewal.sessions, lease=renewal.lease)

    async def routes(self, users: Sequence[str]) -> Mapping[str, Sequence[Route]]:
        return await self.directory.routes(users)

    async def nodes(self, question: Question) -> Mapping[str, NodeRecord]:
        return await self.directory.nodes()

    async def gone(self, question: Question) -> Sequence[Gone]:
        return [Gone(record, since) for record, since in await self.directory.gone()]

    async def known_since(self, question: Question) -> float:
        return await self.directory.known_since()


class RpcDirectory:
    """`chat_common.ports.directory.Directory` at the other end of a link. While that node is away all of it is
    `Unavailable`; started again it remembers nothing, which `known_since` says."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def announce(self, record: NodeRecord, *, lease: float) -> bool:
        said: bool = await self._ask("announce", Announcement(record, lease))
        return said

    async def depart(self, record: NodeRecord) -> bool:
        said: bool = await self._ask("depart", record)
        return said

    async def register(self, route: Route, *, lease: float) -> None:
        await self._ask("register", Registration(route, lease))

    async def unregister(self, route: Route) -> bool:
        said: bool = await self._ask("unregister", route)
        return said

    async def renew(self, node: str, boot: str, sessions: Iterable[str], *, lease: float) -> Sequence[str]:
        unknown: Sequence[str] = await self._ask("renew", Renewal(node, boot, list(sessions), lease))
        return unknown

    async def routes(self, users: Iterable[str]) -> Mapping[str, Sequence[Route]]:
        found: Mapping[str, Sequence[Route]] = await self._ask("routes", list(users))
        return found

    async def nodes(self) -> Mapping[str, NodeRecord]:
        found: Mapping[str, NodeRecord] = await self._ask("nodes", Question())
        return found

    async def gone(self) -> Sequence[tuple[NodeRecord, float]]:
        return [(each.record, each.since) for each in await self._ask("gone", Question())]

    async def known_since(self) -> float:
        since: float = await self._ask("known_since", Question())
        return since

    async def _ask(self, method: str, record: Any) -> Any:
        answer = await self._link.call(SERVICE, method, msgspec.msgpack.encode(record), DEADLINE)
        reply = METHODS[method].reply
        try:
            return msgspec.msgpack.decode(answer, type=reply)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"The answer of {SERVICE}.{method} cannot be read.") from error


@asynccontextmanager
async def opened(link: Link, patience: float) -> AsyncIterator[RpcDirectory]:
    """The directory that is kept there. A node that was started beside it gets so many seconds to answer."""
    directory, until = RpcDirectory(link), asyncio.get_running_loop().time() + patience
    try:
        while asyncio.get_running_loop().time() < until:
            try:
                await directory.known_since()
                break
            except Unavailable:
                await asyncio.sleep(0.1)
        yield directory
    finally:
        await link.close()
