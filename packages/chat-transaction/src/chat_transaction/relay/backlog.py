"""What was left in the table, and comes again only by a scan of all of it. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Generic, TypeVar

Place = TypeVar("Place")


class Backlog(Generic[Place]):
    """Places (topics, or keys) of which a row was left in the table: because there was no room for it, or because one
    before it was left.

    Invariant: while a place is in the backlog, no *reported* row of it is handed over, because it would overtake what
    was left. A full scan reads the place from its first row on, in order; a place that such a scan has read to the end
    leaves the backlog, unless a row of it was left again meanwhile, which the scan's snapshot may lack.
    """

    def __init__(self) -> None:
        self._behind: set[Place] = set()
        self._again: set[Place] = set()
        self._reading: set[Place] = set()

    def __contains__(self, place: Place) -> bool:
        return place in self._behind

    def __iter__(self) -> Iterator[Place]:
        return iter(self._behind)

    def __bool__(self) -> bool:
        return bool(self._behind)

    def leave(self, place: Place) -> None:
        """A row of it was left."""
        self._behind.add(place)
        self._again.add(place)

    def expect(self, places: Collection[Place]) -> None:
        """Rows of these wait in the table, although none of them was left by this relay."""
        self._behind.update(places)

    def begin(self, blocked: Collection[Place]) -> None:
        """A full scan begins that reads everything but ``blocked``."""
        self._reading = self._behind.difference(blocked)
        self._again -= self._reading

    def end(self, blocked: Collection[Place]) -> bool:
        """The scan has read to the end. ``blocked`` are the places that wait from now on; returns whether another
        full scan would find more at once."""
        self._behind -= self._reading - self._again
        self._behind.update(blocked)
        self._reading = set()
        return bool((self._behind & self._again).difference(blocked))
