"""The SQL database: a runner of transactions. SQLAlchemy Core itself is the query language of this port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Item = TypeVar("Item")


class Database(Protocol):
    """Runs synchronous functions of one `sqlalchemy.Connection` in transactions, off the event loop.

    The functions are plain synchronous SQLAlchemy Core, the same for every dialect: SQLite runs them in threads,
    PostgreSQL under `AsyncConnection.run_sync`. They must not block on anything but the connection.
    """

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        ...

    def commit_mark(self) -> int | None:
        """Another number after each commit, whichever process it came from; None: that cannot be told without a
        transaction. Returns at once. Whoever looks regularly for what others wrote need not look while it is the number
        that it was before the last look.
        """
        ...

    async def read(self, work: Callable[[Any], T]) -> T:
        """Run ``work(connection)`` in a read transaction (one snapshot). Many may run at once."""
        ...

    async def change(self, work: Callable[[Any], T], by: str = "") -> T:
        """Run ``work(connection)`` and return after its commit is on disk.

        Atomic: an exception of ``work`` undoes only its own changes and is raised here. Several calls may share one
        transaction (group commit), so ``work`` must not commit, and may be run again from the start when
        the shared transaction failed for another's sake: it must have no effect but through the connection.
        Cancelling the caller does not undo the work. ``by``: the user whose work this is; where much waits, users are
        served in turn.
        """
        ...

    async def change_many(self, apply: Callable[[Any, Sequence[Item]], Sequence[Any]], item: Item, by: str = "") -> Any:
        """Like `change`, but all items that wait for the same ``apply`` function run as one set-based call.

        ``apply(connection, items)`` returns one outcome an item, in order; an outcome that is an exception is raised
        for that item alone (its apply must have written nothing for it). If the call itself raises, the batch is
        halved and tried again, so that one bad item does not sink its neighbours.
        Items of one caller are applied in the order in which they were given.
        """
        ...
