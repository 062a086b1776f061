"""Remote calls inside the process: an object call, no encoding."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from chat_common.errors import ChatError, Unavailable
from chat_common.ports.rpc import Handler, Method, NotServed, Peer, Rpc, chosen
from chat_common.records import Backend, Context

log = logging.getLogger(__name__)


class Handlers:
    """What one node serves, and how it carries a call out: the same for every backend."""

    def __init__(self) -> None:
        self._methods: dict[tuple[str, str], tuple[Method, Handler]] = {}
        self.services: set[str] = set()

    def add(self, service: str, methods: Mapping[str, tuple[Method, Handler]]) -> None:
        self.services.add(service)
        for name, method in methods.items():
            self._methods[service, name] = method

    def find(self, service: str, method: str) -> tuple[Method, Handler]:
        found = self._methods.get((service, method))
        if found is None:
            raise NotServed(f"This node does not serve {service}.{method}.", service)
        return found

    async def carry_out(self, service: str, method: str, record: Any, deadline: float) -> Any:
        """The handler's answer; its `ChatError`; `Unavailable` for anything else, and when the deadline has passed."""
        _, handler = self.find(service, method)
        limit = asyncio.timeout(deadline)
        try:
            async with limit:
                return await handler(record)
        except ChatError:
            raise
        except TimeoutError as error:
            if limit.expired():
                raise Unavailable(f"{service}.{method} did not answer within {deadline:g} s.") from error
            log.exception("%s.%s failed", service, method)
            raise Unavailable(f"{service}.{method} failed.") from error
        except Exception as error:
            # The reason is for the log of this node; the other one may be anybody's.
            log.exception("%s.%s failed", service, method)
            raise Unavailable(f"{service}.{method} failed.") from error


def candidates(own: str, services: set[str], peers: Mapping[str, Peer], service: str, key: str | None) -> list[str]:
    """The nodes that serve it, in the order in which they are to be asked. `NotServed`: there is none."""
    nodes = [name for name, peer in sorted(peers.items()) if service in peer.services and name != own]
    if service in services:
        nodes.insert(0, own)
    if not nodes:
        raise NotServed(f"No node that serves {service} is known.", service)
    return nodes if key is None else chosen(nodes, key)


class DirectRpc:
    """`chat_common.ports.rpc.Rpc` by object calls. ``others`` is shared by nodes of one process that know each other;
    addresses of peers mean nothing here."""

    def __init__(self, others: dict[str, DirectRpc] | None = None) -> None:
        self._node = ""
        self._others = others if others is not None else {}
        self._peers: Mapping[str, Peer] = {}
        self.handlers = Handlers()

    @property
    def address(self) -> str:
        """No other process reaches this one."""
        return ""

    def serve(self, service: str, methods: Mapping[str, tuple[Method, Handler]]) -> None:
        self.handlers.add(service, methods)

    def meet(self, node: str, peers: Mapping[str, Peer]) -> None:
        self._others.pop(self._node, None)
        self._others[node] = self
        self._node, self._peers = node, dict(peers)

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
        if node is None:
            node = candidates(self._node, self.handlers.services, self._peers, service, key)[0]
        other = self if node == self._node else self._others.get(node)
        if other is None or (other is not self and node not in self._peers):
            raise Unavailable(f"The node {node!r} is not known.")
        return await other.handlers.carry_out(service, method, record, deadline)


@asynccontextmanager
async def _open(context: Context) -> AsyncIterator[Rpc]:
    yield DirectRpc()


DIRECT_RPC = Backend(Rpc, "direct", _open, summary="Inside the process: for one node.", default=True)
