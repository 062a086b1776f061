"""A house in which users are given items, and several servers' rooms over one store."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from chat_server.items.settings import ItemSettings

from tests.chat_server.house import House, Store, opened


@pytest.fixture
async def house(store: Store) -> AsyncIterator[House]:
    async with opened(store, items=ItemSettings(enabled=True)) as house:
        yield house
