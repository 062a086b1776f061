"""The directory: which device of whom sits on which node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from attrs import frozen


@frozen
class Seat:
    """One session's place. ``boot`` is the node's random id of this start."""

    user: str
    device: str
    session: str
    node: str
    boot: str


class Directory(Protocol):
    """Leases, fenced: a seat is gone when its lease (seconds) ends unrenewed; only the one who sat down removes it."""

    async def register(self, seat: Seat, *, lease: float) -> None:
        """Sit down; the same session again replaces its former seat."""
        ...

    async def unregister(self, seat: Seat) -> bool:
        """Remove exactly this seat (all fields equal); False if somebody else's stands there: then nothing is done."""
        ...

    async def renew(self, node: str, boot: str, sessions: Iterable[str], *, lease: float) -> Sequence[str]:
        """Prolong; returns the sessions that were no longer known (the node registers them anew)."""
        ...

    async def seats(self, users: Iterable[str]) -> Mapping[str, Sequence[Seat]]:
        """The live seats of each of these users; users without one are left out."""
        ...

    async def nodes(self) -> Mapping[str, str]:
        """Live nodes: node → boot, as far as seats or leases show them."""
        ...

    async def known_since(self) -> float:
        """Seconds since this directory last lost its memory: below one lease, absence means *unknown*."""
        ...
