"""A relay among others: what it still owns, it still runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from chat_common.ports.broker import BrokerRecord
from chat_transaction import consumer
from chat_transaction.sql.outbox import shard_of
from chat_transaction.sql.tables import SHARDS

from tests.chat_transaction.conftest import Shop, entry, until

KEY = next(key for key in map(str, range(1_000)) if shard_of(key) == SHARDS - 1)
"""Of a shard that is given back to the second relay: the upper half is."""


async def test_a_shard_that_is_being_given_back_ends_what_it_has_begun(open_shop: Callable[..., Shop]) -> None:
    """The effect fails, another relay comes, the effect is mended: the first relay owns the shard until the row is
    handled, so its fence must hold; else the row is refused for ever, and the shard is never given back."""
    one, two = open_shop(), open_shop()
    bad, handled, refused = [True], list[bytes](), asyncio.Event()
    loop = asyncio.get_running_loop()

    @consumer("orders", "mail", attempts=10_000)
    def effect(connection: Any, record: BrokerRecord) -> None:
        if bad[0]:
            loop.call_soon_threadsafe(refused.set)
            raise RuntimeError("not now")
        handled.append(record.payload)

    async with one.relaying(effect.on(one.database), lease=3_600) as first:
        await one.write(entry(KEY, "first"))
        await refused.wait()
        async with two.relaying(effect.on(two.database), lease=3_600) as second:
            await first._membership.renew()
            assert SHARDS - 1 not in first._ownership.open
            assert SHARDS - 1 in first._ownership.fences, "it is owned while its row is in flight"
            for _ in range(2):  # the first may have begun before
                refused.clear()
                async with asyncio.timeout(20):
                    await refused.wait()
            bad[0] = False
            await one.until_empty()
            assert handled == [b"first"]
            await first._membership.renew()
            assert SHARDS - 1 not in first._ownership.fences

            async def taken_over() -> bool:
                await second._membership.renew()
                return len(second._ownership.open) == SHARDS // 2

            await until(taken_over)
            await two.write(entry(KEY, "second"))
            await two.until_empty()
    assert handled == [b"first", b"second"]
