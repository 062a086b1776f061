"""Proof, inside a consumer's transaction, that its relay still owns what it is about to apply."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextvars import ContextVar
from typing import Any

from attrs import frozen
from sqlalchemy import select

from chat_transaction.sql.tables import leases


class FencedOut(Exception):
    """Another relay owns the shard by now; it runs these records. Nothing is to be done here."""


@frozen
class Fence:
    """The shards and fencing numbers under which a batch was handed over."""

    fences: Mapping[int, int]

    def verify(self, connection: Any, shards: Collection[int]) -> None:
        """`FencedOut` unless the leases in this very database still have these numbers; they cannot change before the
        transaction ends, but be renewed: however long an effect takes, its relay stays the owner meanwhile."""
        rows = connection.execute(
            select(leases.c.shard, leases.c.fence)
            .where(leases.c.shard.in_(sorted(shards)))
            .order_by(leases.c.shard)
            # The weakest lock: who takes a shard over locks its row for update first, who renews does not.
            .with_for_update(read=True, key_share=True)
        )
        found = {row.shard: row.fence for row in rows}
        if any(found.get(shard) != self.fences.get(shard) for shard in shards):
            raise FencedOut(f"Another relay owns some of the shards {sorted(shards)}.")


current: ContextVar[Fence | None] = ContextVar("chat_transaction_fence", default=None)
"""The fence of the handler that runs in this task; None where a broker stands between."""
