"""The broker on Redis Streams keeps the broker's contract, against a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from secrets import token_hex

import pytest
from chat_common.contracts.broker import BOUNDED_CHECKS, SHARED_CHECKS, Stage
from chat_common.ports.broker import Broker
from chat_transaction.redis.broker import RedisBroker
from chat_transaction.settings import RedisBrokerSettings

from tests.services.redis import redis_url


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_url(tmp_path_factory.mktemp("redis")) as url:
        yield url


class RedisStage:
    patience = 20.0
    shared = True
    largest = 200_000

    def __init__(self, url: str) -> None:
        self._url = url

    def topic(self) -> str:
        return f"topic-{token_hex(4)}"

    delay_topic = topic

    def group(self) -> str:
        return f"group-{token_hex(4)}"

    def client(self) -> AbstractAsyncContextManager[Broker]:
        return self._client(100_000)

    def small_client(self) -> AbstractAsyncContextManager[Broker]:
        return self._client(20)

    @asynccontextmanager
    async def _client(self, capacity: int) -> AsyncIterator[Broker]:
        settings = RedisBrokerSettings(
            url=self._url, capacity=capacity, lease=0.6, retry_first=0.01, record_bytes=self.largest, leave_timeout=1.0
        )
        async with RedisBroker(settings).opened() as broker:
            await broker.ready()
            yield broker


@pytest.mark.parametrize("check", [*SHARED_CHECKS, *BOUNDED_CHECKS], ids=lambda check: check.__name__)
async def test_keeps_the_contract(check: Callable[[Stage], Awaitable[None]], url: str) -> None:
    await check(RedisStage(url))
