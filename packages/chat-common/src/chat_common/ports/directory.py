"""The directory: which nodes exist, and on which node each user's devices are connected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Protocol

from attrs import field, frozen

from chat_common.errors import Unavailable


@frozen
class Route:
    """One session's place. ``boot`` is the node's random id of this start."""

    user: str
    device: str
    session: str
    node: str
    boot: str


@frozen
class NodeRecord:
    """One start of a node. ``boot`` is its random id, ``started`` when it began (ms since 1970), ``address`` where
    other nodes call it (empty: nowhere), ``release`` the version that it runs.

    How it is, by its last announcement: ``load``: numbers by name, such as ``connections``; ``stopping``: it sends its
    clients away. Two records that differ in this alone are equal.
    """

    node: str
    boot: str
    started: int
    address: str = ""
    roles: frozenset[str] = frozenset()
    release: str = ""
    load: Mapping[str, int] = field(factory=dict, eq=False)
    stopping: bool = field(default=False, eq=False)


GONE = 3600.0
"""Seconds for which a directory remembers a node that went without a word."""


class Directory(Protocol):
    """Leases, fenced: a route or a node is gone when its lease (seconds) ends unrenewed; only the node itself, in this
    very start, removes it."""

    async def announce(self, record: NodeRecord, *, lease: float) -> bool:
        """Say, and say again in good time, that this node is there. False: a later start has its name, or another one
        that began in the same moment; nothing is done then, and this process must not go on under that name."""
        ...

    async def depart(self, record: NodeRecord) -> bool:
        """Withdraw this start of the node. False: it was no longer registered, or another start was."""
        ...

    async def register(self, route: Route, *, lease: float) -> None:
        """Record where a session is; the same session again replaces its former route."""
        ...

    async def unregister(self, route: Route) -> bool:
        """Remove exactly this route (all fields equal); False if somebody else's stands there: then nothing is done."""
        ...

    async def renew(self, node: str, boot: str, sessions: Iterable[str], *, lease: float) -> Sequence[str]:
        """Prolong; returns the sessions that were no longer known (the node registers them anew)."""
        ...

    async def routes(self, users: Iterable[str]) -> Mapping[str, Sequence[Route]]:
        """The live routes of each of these users; users without one are left out."""
        ...

    async def nodes(self) -> Mapping[str, NodeRecord]:
        """The nodes that are announced, by name."""
        ...

    async def gone(self) -> Sequence[tuple[NodeRecord, float]]:
        """The nodes whose lease ended within the last `GONE` seconds, by name, and how many seconds ago that was. Who
        departed is not among them, nor a name that was announced again."""
        ...

    async def known_since(self) -> float:
        """Seconds since this directory last lost its memory: below one lease, absence means *unknown*."""
        ...


async def node_changes(directory: Directory, *, every: float = 0.5) -> AsyncIterator[Mapping[str, NodeRecord]]:
    """The nodes, now and whenever they have changed; looks every so many seconds. While the directory is away, or does
    not remember for longer than a look, nobody counts as gone."""
    known: Mapping[str, NodeRecord] | None = None
    while True:
        found: Mapping[str, NodeRecord] | None
        try:
            found = await directory.nodes()
            if known and await directory.known_since() < _FORGETFUL:
                # It has lost its memory: who was there, and has not come again yet, is taken as there.
                found = {**known, **found}
        except Unavailable:
            found = known
        if found is not None and found != known:
            known = found
            yield found
        await asyncio.sleep(every)


_FORGETFUL = 6.0
"""Seconds: the lease of a node, within which each has announced itself again."""
