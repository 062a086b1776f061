"""A day in the life of an outbox: relays with more and fewer consumers come and go, topics fill up, records fail and
are parked, released and dropped. Each group gets each row it is owed, in order per key.

``CHAT_RELAY_SEEDS=50`` for more of them.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import pytest
from attrs import define, field
from chat_common.errors import NotFound
from chat_common.ports.broker import BrokerRecord
from chat_common.records import Consumer
from chat_transaction.relay.relay import SqlRelay
from chat_transaction.sql import tables
from chat_transaction.sql.dead_letters import SqlDeadLetters

from tests.chat_transaction.conftest import Seen, Shop, entry, until

SEEDS = int(os.environ.get("CHAT_RELAY_SEEDS", "4"))
STEPS = 150
KEYS = 3


@define
class Group:
    """Fails now and then (`flaky`), or for a payload for good until it is mended (`bad`)."""

    chance: random.Random
    flaky: float = 0.0
    bad: set[bytes] = field(factory=set)
    seen: Seen = field(factory=Seen)

    async def __call__(self, records: Sequence[BrokerRecord]) -> None:
        await asyncio.sleep(self.chance.choice((0, 0, 0.001, 0.003)))
        if self.chance.random() < self.flaky or any(record.payload in self.bad for record in records):
            raise RuntimeError("not now")
        await self.seen(records)

    def firsts(self, key: str) -> list[bytes]:
        return list(dict.fromkeys(self.seen.payloads(key)))


@define
class Day:
    """What happens."""

    open_shop: Callable[..., Shop]
    chance: random.Random
    written: dict[tuple[str, str], list[bytes]] = field(factory=dict)
    owed: int = 0
    dropped: set[bytes] = field(factory=set)
    relays: list[tuple[AsyncExitStack, SqlRelay]] = field(factory=list)
    shops: list[Shop] = field(init=False)
    dead_letters: SqlDeadLetters = field(init=False)
    mail: Group = field(init=False)
    audit: Group = field(init=False)
    print: Group = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.shops = [self.open_shop(), self.open_shop(), self.open_shop()]
        self.dead_letters = SqlDeadLetters(self.shops[0].database, self.shops[0].clock)
        self.mail = Group(self.chance, flaky=0.1)
        self.audit = Group(self.chance, flaky=0.1)
        self.print = Group(self.chance)

    def consumers(self, *, all_of_them: bool) -> list[Consumer]:
        found = [
            Consumer("orders", "mail", self.mail, attempts=10_000, batch=4),
            Consumer("paper", "print", self.print, attempts=1, on_failure="park", batch=4),
        ]
        return [*found, Consumer("orders", "audit", self.audit, attempts=10_000)] if all_of_them else found

    async def start(self, *, all_of_them: bool) -> None:
        shop = self.shops[len(self.relays) % len(self.shops)]
        stack = AsyncExitStack()
        settings = {
            "capacity": 6,
            "scan_limit": 3,
            "lease": 0.9,
            "retry_first": 0.001,
            "retry_cap": 0.01,
            "drain_timeout": 0,
        }
        relay = await stack.enter_async_context(
            shop.relaying(*self.consumers(all_of_them=all_of_them), **settings)  # type: ignore[arg-type]
        )
        self.relays.append((stack, relay))

    async def stop(self) -> None:
        stack, _ = self.relays.pop(self.chance.randrange(len(self.relays)))
        await stack.aclose()

    async def write(self) -> None:
        shop = self.chance.choice(self.shops)
        for _ in range(self.chance.choice((1, 1, 2, 12))):
            topic, key = self.chance.choice(("orders", "orders", "paper")), f"k{self.chance.randrange(KEYS)}"
            payload = str(self.owed).encode()
            self.owed += 1
            if topic == "paper" and self.chance.random() < 0.1:
                self.print.bad.add(payload)
            self.written.setdefault((topic, key), []).append(payload)
            await shop.write(entry(key, payload.decode(), topic=topic), report=self.chance.random() < 0.7)

    async def mend(self) -> None:
        for letter in await self.dead_letters.list(limit=3):
            try:
                letter = await self.dead_letters.show(letter.id)
            except NotFound:
                continue
            if self.chance.random() < 0.3:
                if await self.dead_letters.drop([letter.id]):
                    self.dropped.add(letter.payload)
            else:
                self.print.bad.discard(letter.payload)
                await self.dead_letters.replay([letter.id])

    async def live(self) -> None:
        await self.start(all_of_them=True)
        ways: list[Callable[[], Awaitable[None]]] = [self.write] * 8 + [self.mend] * 2
        for _ in range(STEPS):
            await self.chance.choice(ways)()
            if self.chance.random() < 0.04:
                if len(self.relays) < 3 and self.chance.random() < 0.6:
                    await self.start(all_of_them=self.chance.random() < 0.5)
                elif self.relays:
                    await self.stop()
            await asyncio.sleep(self.chance.choice((0, 0, 0.002)))
        self.mail.flaky = self.audit.flaky = 0.0
        self.print.bad.clear()
        await self.start(all_of_them=True)
        await until(self.is_over, 15)
        while self.relays:
            await self.stop()

    async def is_over(self) -> bool:
        await self.dead_letters.replay([letter.id for letter in await self.dead_letters.list()])
        return not await self.shops[0].rows()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_everybody_gets_everything_in_order(open_shop: Callable[..., Shop], seed: int) -> None:
    day = Day(open_shop, random.Random(seed))
    await day.live()
    for (topic, key), payloads in day.written.items():
        groups = {"mail": day.mail, "audit": day.audit} if topic == "orders" else {"print": day.print}
        for name, group in groups.items():
            mine = [payload for payload in payloads if payload not in day.dropped]
            seen = [payload for payload in group.firsts(key) if payload in payloads and payload not in day.dropped]
            assert seen == mine, f"{name} of {topic} {key}"
    assert await day.shops[0].rows(tables.state) == []
    assert await day.shops[0].rows(tables.dead_letters) == []
