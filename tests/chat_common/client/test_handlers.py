"""Handlers of events: what one of them does is no business of the others."""

from __future__ import annotations

import asyncio

import pytest
from chat_common.client import handlers
from chat_common.client.handlers import Handlers


async def test_only_the_class_that_was_asked_for_until_it_is_ended() -> None:
    heard: list[int] = []
    it = Handlers()
    end = it.add(int, heard.append)
    for event in (1, "two", 3.0, 4):
        it.emit(event)
    end()
    it.emit(5)
    assert heard == [1, 4]


async def test_a_slow_one_misses_what_does_not_fit_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handlers, "CAPACITY", 3)
    heard: list[int] = []
    done = asyncio.Event()

    async def slow(event: int) -> None:
        heard.append(event)
        if event == 99:
            done.set()

    it = Handlers()
    it.add(int, slow)
    for event in range(10):
        it.emit(event)
    await asyncio.sleep(0)
    it.emit(99)
    await asyncio.wait_for(done.wait(), 5)
    assert heard == [0, 1, 2, 99]
    assert caplog.text.count("events behind") == 1


async def test_closing_waits_for_nobody() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def for_ever(event: int) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    it = Handlers()
    it.add(int, for_ever)
    it.emit(1)
    await began.wait()
    await asyncio.wait_for(it.close(), 5)
    assert ended.is_set()
