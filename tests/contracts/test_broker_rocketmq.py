"""The broker on RocketMQ 5 keeps the broker's contract, against a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from chat_common.contracts.broker import SHARED_CHECKS, Stage
from chat_common.ports.broker import Broker
from chat_transaction.rocketmq_broker import RocketBroker
from chat_transaction.settings import RocketBrokerSettings

from tests.services.rocketmq import RocketMQ, running_rocketmq

NAMES = [f"contract{number}" for number in range(3 * len(SHARED_CHECKS))]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RocketMQ]:
    settings = RocketBrokerSettings(queues=4)
    with running_rocketmq(tmp_path_factory.mktemp("rocketmq")) as server:
        # Calls of the admin tool cost seconds, so all is made at once.
        server.create(RocketBroker.topics(NAMES, settings), RocketBroker.groups(NAMES, settings))
        yield server


class RocketStage:
    patience = 90.0
    shared = True

    def __init__(self, server: RocketMQ, names: Iterator[str]) -> None:
        self._server = server
        self._names = names

    def topic(self) -> str:
        return next(self._names)

    delay_topic = topic
    group = topic

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Broker]:
        settings = RocketBrokerSettings(endpoints=self._server.endpoint, retry_first=0.01)
        async with RocketBroker(settings).opened() as broker:
            await broker.ready()
            yield broker

    def small_client(self) -> Any:
        raise NotImplementedError("RocketMQ has no such bound")


@pytest.fixture(scope="module")
def names() -> Iterator[Any]:
    return iter(NAMES)


@pytest.mark.parametrize("check", SHARED_CHECKS, ids=lambda check: check.__name__)
async def test_keeps_the_contract(
    check: Callable[[Stage], Awaitable[None]], server: RocketMQ, names: Iterator[str]
) -> None:
    await check(RocketStage(server, names))
