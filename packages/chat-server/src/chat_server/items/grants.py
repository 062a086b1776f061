"""Giving: at most one item for a key, and of a badge at most one for a user, whoever asks how often and where at once.

The unique columns of the table decide. The row of the user is locked first, so that two grants to one user, and a grant
and a spending, come one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from chat_common import wire
from chat_common.errors import Conflict
from sqlalchemy import or_, select, update

from chat_server.items.catalogue import Catalogue
from chat_server.store.schema import item, user
from chat_server.store.statements import upsert
from chat_server.store.tx import Tx, missing

Pin = Callable[[Tx, str, wire.Badge | None], wire.User]


@frozen
class Granted:
    """``new`` false: it had been given before, and ``row`` is what was given then. ``worn``: the name wears it now."""

    row: Any
    new: bool
    worn: bool = False


@frozen
class Grants:
    """``pin`` puts a badge beside a user's name."""

    catalogue: Catalogue
    pin: Pin

    def grant(self, tx: Tx, who: str, name: str, source: str, business: str) -> Granted:
        """Give ``who`` the item ``name``, once for each ``source`` and ``business``, which names its beneficiary.

        A badge is worn at once where none is. `NotFound`: no such user or item. `Conflict`: the key is another's.
        """
        entry = self.catalogue.require(name)
        key = f"{name}:{source}:{business}"
        mine = lock(tx, who)
        once = f"{who}:{name}" if entry.record.kind == "badge" else None
        given = select(item).where(or_(item.c.key == key, item.c.once == once) if once else item.c.key == key)
        before = tx.connection.execute(given.order_by(item.c.key != key).limit(1)).one_or_none()
        if before is None:
            values = {"key": key, "user": who, "item": name, "source": source, "once": once, "granted_at": tx.now}
            fresh = tx.connection.execute(
                upsert(tx.connection, item).values(**values).on_conflict_do_nothing().returning(item.c.key)
            ).first()
            if fresh is not None:
                stamp(tx, who, key)
                worn = once is not None and mine.badge is None
                if worn:
                    self.pin(tx, who, entry.badge())
                row = tx.connection.execute(select(item).where(item.c.key == key)).one()
                return Granted(row, new=True, worn=worn)
            before = tx.connection.execute(given.order_by(item.c.key != key).limit(1)).one()
        if before.user != who:
            raise Conflict("ref: Another user was given something under this ref.", field="ref")
        return Granted(before, new=False)


def lock(tx: Tx, who: str) -> Any:
    """The user's row, which nobody else changes until the end of the transaction; `NotFound`: none, or deleted."""
    mine = tx.connection.execute(select(user).where(user.c.user == who).with_for_update()).one_or_none()
    if mine is None or mine.deleted_at is not None:
        raise missing("user")
    return mine


def stamp(tx: Tx, who: str, key: str) -> None:
    """Give a changed row its user's next version, so that the user's devices learn of it."""
    number = tx.versions([who])[who]
    tx.connection.execute(update(item).where(item.c.key == key).values(version=number))
    tx.connection.execute(update(user).where(user.c.user == who).values(items_version=number))
