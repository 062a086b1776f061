"""The directory on Redis: the routes of many nodes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice

import attrs
import msgspec
from chat_common.errors import Unavailable
from chat_common.ports.directory import GONE, NodeRecord, Route

from chat_transaction.redis import directory_scripts as scripts
from chat_transaction.redis.calls import Calls
from chat_transaction.redis.connection import connect, disconnect
from chat_transaction.redis.eviction import refuse_eviction
from chat_transaction.settings import RedisDirectorySettings

log = logging.getLogger(__name__)

_PAGE = 200
"""Sessions or users of one script: Redis serves nobody else while it runs."""


class RedisDirectory:
    """`chat_common.ports.directory.Directory` on Redis 7 or Valkey: one server, or what Sentinels name; not Redis
    Cluster. Leases end by the clock of Redis.

    What is written in one loop turn travels together. A Redis that was restarted or emptied is healed by renewals: they
    name the routes that are missing, and the nodes register these anew; until a lease has passed, `known_since` says
    that absence means nothing. Redis must not evict (`SetupError` when it is opened). `Unavailable` while it is away.
    """

    def __init__(self, settings: RedisDirectorySettings | None = None) -> None:
        self.settings = settings or RedisDirectorySettings()
        self.client = connect(self.settings, connections=4, timeout=self.settings.timeout, retries=0)
        self._calls = Calls(self.client, self.settings.open_calls)
        script = self.client.register_script
        self._register, self._unregister = script(scripts.REGISTER), script(scripts.UNREGISTER)
        self._renew, self._routes = script(scripts.RENEW), script(scripts.ROUTES)
        self._announce, self._depart = script(scripts.ANNOUNCE), script(scripts.DEPART)
        self._nodes, self._gone = script(scripts.NODES), script(scripts.GONE)
        self._known_since = script(scripts.KNOWN_SINCE)
        self._node_keys = [self._key("nodes"), self._key("records")]

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RedisDirectory]:
        try:
            async with self._calls.opened():
                try:
                    await refuse_eviction(self.client, "the directory")
                    await self.known_since()  # so that the age is counted from now on, not from the first question
                except Unavailable as error:
                    log.warning("the directory begins without Redis: %s", error.message)
                yield self
        finally:
            await disconnect(self.client)

    async def register(self, route: Route, *, lease: float) -> None:
        keys = [self._session(route.session), self._user(route.user)]
        args = [self.settings.prefix, route.session, route.user, route.node, route.boot, _encode(route), _ms(lease)]
        await self._calls.run(self._register, keys, args)

    async def unregister(self, route: Route) -> bool:
        keys = [self._session(route.session), self._user(route.user)]
        return bool(await self._calls.run(self._unregister, keys, [route.session, _encode(route)]))

    async def renew(self, node: str, boot: str, sessions: Iterable[str], *, lease: float) -> Sequence[str]:
        unknown: list[str] = []
        for page in _pages(sessions):
            args = [self.settings.prefix, node, boot, _ms(lease), *page]
            unknown += [session.decode() for session in await self._calls.run(self._renew, [], args)]
        return unknown

    async def routes(self, users: Iterable[str]) -> Mapping[str, Sequence[Route]]:
        found: dict[str, list[Route]] = {}
        for page in _pages(dict.fromkeys(users)):
            for each in await self._calls.run(self._routes, [], [self.settings.prefix, *page]):
                route = Route(*msgspec.json.decode(each))
                found.setdefault(route.user, []).append(route)
        return found

    async def announce(self, record: NodeRecord, *, lease: float) -> bool:
        # The order of the fields is the format; each release knows those of the former ones.
        encoded = msgspec.json.encode(attrs.astuple(record, recurse=False))
        args = [record.node, record.boot, record.started, encoded, _ms(lease)]
        return bool(await self._calls.run(self._announce, self._node_keys, args))

    async def depart(self, record: NodeRecord) -> bool:
        return bool(await self._calls.run(self._depart, self._node_keys, [record.node, record.boot]))

    async def nodes(self) -> Mapping[str, NodeRecord]:
        found: dict[str, NodeRecord] = {}
        for each in await self._calls.run(self._nodes, self._node_keys, [_ms(GONE)]):
            record = _record(each)
            found[record.node] = record
        return found

    async def gone(self) -> Sequence[tuple[NodeRecord, float]]:
        told = await self._calls.run(self._gone, self._node_keys, [_ms(GONE)])
        found = [(_record(record), int(since) / 1000) for record, since in zip(told[::2], told[1::2], strict=True)]
        return sorted(found, key=lambda each: each[0].node)

    async def known_since(self) -> float:
        return int(await self._calls.run(self._known_since, [self._key("since")])) / 1000

    def _key(self, name: str) -> str:
        return f"{self.settings.prefix}:{name}"

    def _session(self, session: str) -> str:
        return f"{self.settings.prefix}:s:{session}"

    def _user(self, user: str) -> str:
        return f"{self.settings.prefix}:u:{user}"


def _record(encoded: bytes) -> NodeRecord:
    node, boot, started, address, roles, release, *later = msgspec.json.decode(encoded)
    return NodeRecord(node, boot, started, address, frozenset(roles), release, *later[:2])


def _encode(route: Route) -> bytes:
    return msgspec.json.encode([route.user, route.device, route.session, route.node, route.boot])


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _pages(names: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(names)
    while page := list(islice(rest, _PAGE)):
        yield page
