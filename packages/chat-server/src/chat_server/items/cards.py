"""Spending: what a rename costs. The card is used up in the transaction that changes the name, or neither happens."""

from __future__ import annotations

from attrs import frozen
from chat_common.errors import Conflict
from sqlalchemy import func, select, update

from chat_server.items.catalogue import RENAME_CARD
from chat_server.items.grants import lock, stamp
from chat_server.store.schema import item
from chat_server.store.tx import Tx


@frozen
class RenameCards:
    """Implements `chat_server.logic.users.RenameCost`."""

    def pay(self, tx: Tx, who: str, ref: str) -> int:
        """Use up the card that was given first, for the request ``ref``; how many are left. `Conflict`: no card."""
        lock(tx, who)
        first = (
            select(item.c.key)
            .where(item.c.user == who, item.c.item == RENAME_CARD, item.c.spent_at.is_(None))
            .order_by(item.c.version)
            .limit(1)
        )
        key = tx.connection.execute(first).scalar_one_or_none()
        spent = (
            update(item)
            .where(item.c.key == key, item.c.spent_at.is_(None))
            .values(spent_at=tx.now, spent_on=ref)
            .returning(item.c.key)
        )
        if key is None or tx.connection.execute(spent).first() is None:
            raise Conflict("A new name costs a rename card, and you have none.", field="cards", limit=0)
        stamp(tx, who, key)
        return self.left(tx, who)

    def left(self, tx: Tx, who: str) -> int:
        """How many cards there are."""
        mine = select(func.count()).where(item.c.user == who, item.c.item == RENAME_CARD, item.c.spent_at.is_(None))
        return int(tx.connection.execute(mine).scalar_one())
