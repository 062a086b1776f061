"""The in-process broker keeps the broker's contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from secrets import token_hex

import pytest
from chat_common.contracts.broker import BOUNDED_CHECKS, CHECKS, Stage
from chat_common.ports.broker import Broker
from chat_transaction.brokers.memory import MemoryBroker
from chat_transaction.settings import MemoryBrokerSettings


class MemoryStage:
    patience = 10.0
    shared = False
    largest = 200_000

    def topic(self) -> str:
        return f"topic-{token_hex(4)}"

    delay_topic = topic

    def group(self) -> str:
        return f"group-{token_hex(4)}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Broker]:
        async with MemoryBroker(
            MemoryBrokerSettings(retry_first=0.01, record_bytes=self.largest, leave_timeout=1.0)
        ).opened() as broker:
            yield broker

    @asynccontextmanager
    async def small_client(self) -> AsyncIterator[Broker]:
        async with MemoryBroker(MemoryBrokerSettings(capacity=20)).opened() as broker:
            yield broker


@pytest.mark.parametrize("check", [*CHECKS, *BOUNDED_CHECKS], ids=lambda check: check.__name__)
async def test_keeps_the_contract(check: Callable[[Stage], Awaitable[None]]) -> None:
    await check(MemoryStage())
