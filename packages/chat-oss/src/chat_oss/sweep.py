"""Removes from the store what nobody needs any longer. Any number of processes may sweep at once."""

from __future__ import annotations

from collections.abc import Sequence

from chat_common.ports.objects import ObjectStore

from chat_oss.keys import VARIANTS, content_key
from chat_oss.leftovers import Leftovers

SWEEP_BATCH = 200


async def sweep(store: ObjectStore, leftovers: Leftovers, now: int) -> int:
    """Remove it; how many things went. Raises `Unavailable` while the store is away: then the rest goes next time.

    Objects go before their rows: after a crash in between they are found, and deleted, again.
    """
    gone = await leftovers.expire(now)
    while keys := await leftovers.stagings(now, SWEEP_BATCH):
        await clear_stagings(store, keys)
        await leftovers.forget_stagings(keys)
        gone += len(keys)
    while contents := await leftovers.mark_unused(now, SWEEP_BATCH):
        await store.delete([content_key(content, variant) for content in contents for variant in VARIANTS])
        await leftovers.forget(contents)
        gone += len(contents)
    return gone


async def clear_stagings(store: ObjectStore, keys: Sequence[str]) -> None:
    """Delete what clients have written under these keys, parts included."""
    for key in keys:
        await store.abort_parts(key)
    await store.delete(keys)
