"""Remote calls over gRPC: between processes, and between machines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from chat_common.backoff import pause
from chat_common.errors import Unavailable
from chat_common.memory.rpc import Handlers, candidates
from chat_common.ports.rpc import Handler, Method, NotServed, Peer
from chat_common.settings import SetupError

from chat_server.rpc.link import Link, LinkBroken
from chat_server.rpc.listener import Listener
from chat_server.rpc.settings import GrpcRpcSettings, reached_at, trust_of

_FIRST, _CAP = 0.02, 0.5
"""Seconds between two attempts of a call that may be repeated."""


class GrpcRpc:
    """`chat_common.ports.rpc.Rpc` over one long-lived stream to each node that is called. The calls of a loop turn to a
    node travel in one message, their answers as they come. Calls to this very node are object calls.
    """

    def __init__(self, settings: GrpcRpcSettings | None = None) -> None:
        self._settings = settings or GrpcRpcSettings()
        self._trust = trust_of(self._settings)
        self._handlers = Handlers()
        self._node = ""
        self._peers: dict[str, Peer] = {}
        self._links: dict[str, Link] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.address = ""
        """Where other nodes reach this one."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[GrpcRpc]:
        async with Listener(self._handlers, self._trust, self._settings).opened() as bound:
            self.address = reached_at(self._settings, bound)
            try:
                yield self
            finally:
                self.meet(self._node, {})
                await asyncio.gather(*self._closing)

    def serve(self, service: str, methods: Mapping[str, tuple[Method, Handler]]) -> None:
        self._handlers.add(service, methods)

    def meet(self, node: str, peers: Mapping[str, Peer]) -> None:
        self._node, self._peers = node, {name: peer for name, peer in peers.items() if name != node}
        for name, link in list(self._links.items()):
            if name not in self._peers or self._peers[name].address != link.address:
                closing = asyncio.get_running_loop().create_task(self._links.pop(name).close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    async def call(
        self,
        service: str,
        method: str,
        record: Any,
        of: Method,
        *,
        deadline: float,
        node: str | None = None,
        key: str | None = None,
        repeat: bool = False,
    ) -> Any:
        loop = asyncio.get_running_loop()
        until, attempt = loop.time() + deadline, 0
        while True:
            nodes = [""]
            try:
                nodes = [node] if node is not None else self._candidates(service, key)
                return await self._call(nodes[attempt % len(nodes)], service, method, record, of, until - loop.time())
            except (LinkBroken, NotServed) as error:
                # What was not sent may go to another node, or again, in any case.
                again = pause(attempt + 1, _FIRST, _CAP) if attempt + 1 >= len(nodes) else 0.0
                only_one = len(nodes) == 1 and not repeat
                sent = isinstance(error, LinkBroken) and error.sent
                if (sent and not repeat) or only_one or loop.time() + again >= until:
                    raise
                attempt += 1
                await asyncio.sleep(again)

    def link(self, address: str) -> Link:
        """A link of one's own to a node of which nothing but the address is known; whoever asks for it closes it.
        `SetupError` for an address that others reach, where nothing proves who they are."""
        self._trust.check(address)
        return Link(address, address, self._trust, self._settings)

    def _candidates(self, service: str, key: str | None) -> list[str]:
        return candidates(self._node, self._handlers.services, self._peers, service, key)

    async def _call(self, node: str, service: str, method: str, record: Any, of: Method, deadline: float) -> Any:
        if node == self._node:
            return await self._handlers.carry_out(service, method, record, deadline)
        answer = await self._link(node).call(service, method, msgspec.msgpack.encode(record), deadline)
        try:
            return msgspec.msgpack.decode(answer, type=of.reply)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"The answer of {service}.{method} from the node {node} cannot be read.") from error

    def _link(self, node: str) -> Link:
        link = self._links.get(node)
        if link is None:
            peer = self._peers.get(node)
            if peer is None:
                raise Unavailable(f"The node {node!r} is not known.")
            try:
                self._trust.check(peer.address)
            except SetupError as error:
                raise Unavailable(str(error)) from error
            link = self._links[node] = Link(node, peer.address, self._trust, self._settings)
        return link
