"""Every piece of code of docs/testing.md, run."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from chat_common.client import ChatClient
from chat_common.errors import RecallExpired
from chat_server.testing.faults import Faults
from chat_server.testing.running import RunningChat

PAGE = Path(__file__).parents[3] / "docs" / "testing.md"
NAMES: dict[str, Any] = {"pytest": pytest, "RecallExpired": RecallExpired}
for _block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
    exec(_block, NAMES)


async def test_the_tests_of_the_page_pass(
    chat: RunningChat, ann: ChatClient, bob: ChatClient, faults: Faults, advance: Callable[[float], Awaitable[None]]
) -> None:
    await NAMES["test_the_seller_hears_of_an_order"](chat, ann, bob)
    await NAMES["test_a_message_can_be_recalled_for_ten_minutes"](chat, ann, bob, advance)


async def test_who_was_away(
    chat: RunningChat, ann: ChatClient, bob: ChatClient, faults: Faults, advance: Callable[[float], Awaitable[None]]
) -> None:
    await NAMES["test_who_was_away_misses_nothing"](chat, ann, bob, faults, advance)
    assert "chat_options" in NAMES
