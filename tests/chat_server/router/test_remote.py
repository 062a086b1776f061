from __future__ import annotations

import asyncio

import pytest
from chat_server.router import remote
from chat_server.router.remote import RemoteNode

from tests.chat_server.router.gateways import FakeGateway, to
from tests.support.waiting import until


async def test_what_comes_while_a_call_is_under_way_goes_in_one_call_after_it() -> None:
    gateway = FakeGateway(gate=asyncio.Event())
    node = RemoteNode("b", gateway)
    sending = [asyncio.create_task(node.deliver([to("ann", rev=rev)])) for rev in range(1, 6)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert gateway.gate is not None
    gateway.gate.set()
    await asyncio.gather(*sending)
    assert [delivery.last for delivery in gateway.delivered] == [1, 2, 3, 4, 5]
    assert len(gateway.calls) <= 2


async def test_a_node_that_does_not_answer_is_not_waited_for_and_is_told_what_it_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote, "CAP", 0.01)
    gateway = FakeGateway(away=True)
    node = RemoteNode("b", gateway)
    await node.deliver([to("ann", rev=1), to("ann", rev=2)])
    assert not node.answers
    await node.deliver([to("ann", rev=3)])  # returns although nobody takes it
    gateway.away = False
    await until(lambda: node.answers)
    assert gateway.misses[0] >= 2
    await node.deliver([to("ann", rev=4)])
    assert gateway.delivered[-1].last == 4


async def test_a_slow_node_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 0.01)
    gateway = FakeGateway(gate=asyncio.Event())
    node = RemoteNode("b", gateway)
    await node.deliver([to("ann", rev=1)])
    assert not node.answers
    assert gateway.gate is not None
    gateway.gate.set()
    await until(lambda: node.answers)
    assert [delivery.last for delivery in gateway.delivered] == [1]
    assert gateway.misses == []


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 0.01)
    monkeypatch.setattr(remote, "WAITING", 10)
    gateway = FakeGateway(gate=asyncio.Event())
    node = RemoteNode("b", gateway)
    for rev in range(1, 40):
        await node.deliver([to("ann", rev=rev)])
    assert gateway.gate is not None
    gateway.gate.set()
    await until(lambda: bool(gateway.misses))
    await until(lambda: node.answers)
    assert len(gateway.delivered) <= 12
    assert len(gateway.delivered) + sum(gateway.misses) == 39


async def test_a_node_that_leaves_keeps_nobody_waiting() -> None:
    gateway = FakeGateway(gate=asyncio.Event())
    node = RemoteNode("b", gateway)
    first = asyncio.create_task(node.deliver([to("ann", rev=1)]))
    second = asyncio.create_task(node.deliver([to("ann", rev=2)]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    node.leave()
    await asyncio.gather(first, second)
    assert gateway.delivered == []
