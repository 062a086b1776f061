from __future__ import annotations

import pytest
from chat_common.client import subscription
from chat_common.client.subscription import Subscription
from chat_common.errors import Unavailable


async def test_one_that_nobody_reads_fails_after_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "CAPACITY", 3)
    left: list[Subscription] = []
    reader = Subscription(left.append)
    for n in range(4):
        reader.put(n)
    assert left == [reader]
    assert [await anext(reader) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Unavailable):
        await anext(reader)


async def test_it_ends() -> None:
    reader = Subscription(lambda _: None)
    reader.put(1)
    reader.end()
    assert [event async for event in reader] == [1]
