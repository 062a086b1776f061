"""The directory: which device of whom sits on which node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from attrs import frozen


@frozen
class Route:
    """One session's place. ``boot`` is the node's random id of this start."""

    user: str
    device: str
    session: str
    node: str
    boot: str


class Directory(Protocol):
    """Leases, fenced: a route is gone when its lease (seconds) ends unrenewed; only its own node removes it."""

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

    async def nodes(self) -> Mapping[str, str]:
        """Live nodes: node → boot, as far as routes or leases show them."""
        ...

    async def known_since(self) -> float:
        """Seconds since this directory last lost its memory: below one lease, absence means *unknown*."""
        ...
