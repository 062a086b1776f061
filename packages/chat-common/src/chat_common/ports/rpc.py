"""Remote calls: how a node asks another one, or itself."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, Protocol, get_type_hints

from attrs import frozen

from chat_common.decoding import prepare
from chat_common.errors import Unavailable

Handler = Callable[[Any], Awaitable[Any]]
"""Takes one record and answers with one (or None)."""


class NotServed(Unavailable):
    """Nobody has carried the call out: no node that serves it is known, or the one that was asked does not serve it, as
    one that is being started does not yet."""

    carried = ("service",)

    def __init__(self, message: str, service: str) -> None:
        super().__init__(message, retry_after=1.0)
        self.service = service


@frozen
class Method:
    """One method of a service: the type of its record, and of its answer (`type(None)`: there is none).

    Records are attrs classes, msgspec structs, or built-in types of these. Fields that a peer of another release adds
    are ignored, and those that it lacks have their defaults.
    """

    request: Any
    reply: Any

    def __attrs_post_init__(self) -> None:
        prepare(self.request, self.reply)


@frozen
class Peer:
    """Another node. ``address`` is where its backend answers, ``services`` what it serves."""

    address: str
    services: frozenset[str]


class Rpc(Protocol):
    """Calls between nodes; each has a deadline, and is carried out at most once unless it says that it may be repeated.

    Calls to one node begin there in the order in which they were made; answers come in any order. What raises a
    `ChatError` there raises it here, with its code and its fields; whatever else goes wrong is `Unavailable`: a handler
    that fails otherwise, a node that nobody knows, a connection that breaks, a deadline that passes. After
    `Unavailable` nobody knows whether the call was carried out.
    """

    @property
    def address(self) -> str:
        """Where other nodes reach this one; empty: nowhere."""
        ...

    def serve(self, service: str, methods: Mapping[str, tuple[Method, Handler]]) -> None:
        """Answer calls of this service from now on. Handlers run side by side, each cancelled at its call's deadline,
        or when its caller is cancelled or gone."""
        ...

    def meet(self, node: str, peers: Mapping[str, Peer]) -> None:
        """From now on this node has that name, and these are the other ones: all of them. Open calls to a node that is
        none of them, or has another address, fail."""
        ...

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
        """The answer of ``node``; without one, of any node that serves it: of this one first. With ``key``: of the one
        that `chosen` names among all of them. ``deadline`` is in seconds. ``repeat``: the call does no harm when it is
        carried out twice, so a broken connection, or nobody who serves it, has it sent again until the deadline, to
        another node where that is allowed."""
        ...


def chosen(nodes: Iterable[str], key: str) -> list[str]:
    """The nodes in the order of preference for this key (rendezvous hashing): the same on every node, and when one
    goes, only its keys move."""
    return sorted(nodes, key=lambda node: blake2b(f"{node}\0{key}".encode(), digest_size=8).digest())


def methods_of(protocol: type) -> dict[str, Method]:
    """The methods of a service that is described by a `Protocol`: each takes one record. `TypeError` where one takes
    more."""
    found = {}
    for name, function in vars(protocol).items():
        if name.startswith("_") or not inspect.iscoroutinefunction(function):
            continue
        hints = get_type_hints(function)
        parameters = [each for each in inspect.signature(function).parameters if each != "self"]
        if len(parameters) != 1 or parameters[0] not in hints or "return" not in hints:
            raise TypeError(f"{protocol.__name__}.{name} must take one record and say what it returns.")
        found[name] = Method(hints[parameters[0]], hints["return"])
    return found


def serve(rpc: Rpc, service: str, protocol: type, instance: Any) -> None:
    """Answer calls of this service by the methods of ``instance``."""
    rpc.serve(service, {name: (method, getattr(instance, name)) for name, method in methods_of(protocol).items()})


class Proxy:
    """An object with the methods of ``protocol``, each of which calls the service. ``node``: that one; absent: any."""

    def __init__(
        self, rpc: Rpc, service: str, protocol: type, *, deadline: float, node: str | None = None, repeat: bool = False
    ) -> None:
        for name, method in methods_of(protocol).items():
            setattr(self, name, _calling(rpc, service, name, method, deadline, node, repeat))


def _calling(
    rpc: Rpc, service: str, name: str, method: Method, deadline: float, node: str | None, repeat: bool
) -> Handler:
    async def call(record: Any) -> Any:
        return await rpc.call(service, name, record, method, deadline=deadline, node=node, repeat=repeat)

    return call
