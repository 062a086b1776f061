"""Hears that the host's process is to stop before the host closes its connections.

ASGI tells an application of the end when all its connections are closed: clients of a mounted server would see 1012
instead of `bye` 4000. So the signals that the host handles pass through here: first the server drains, then the host
gets its signal.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _Heard:
    """The handler of one signal, in front of the one that was there."""

    def __init__(self, former: Callable[[int, FrameType | None], Any], drain: Callable[[], Awaitable[None]]) -> None:
        self.former: Any = former
        self.over = False
        self._drain = drain
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._told = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.over or self._told or self._loop.is_closed():
            self.former(number, frame)  # The second time: at once.
            return
        self._told = True
        self._loop.call_soon_threadsafe(self._begin, number)

    def _begin(self, number: int) -> None:
        async def end() -> None:
            try:
                await self._drain()
            finally:
                self.former(number, None)

        self._task = self._loop.create_task(end())


@contextlib.contextmanager
def told_to_stop(drain: Callable[[], Awaitable[None]]) -> Iterator[None]:
    """Run ``drain`` when the process is told to stop, and hand the signal on when that is done. Only signals that
    somebody handles, and only in the main thread, which alone has signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        for number in SIGNALS:
            # asyncio hears of signals before any handler does, so a callback of its loop has to be replaced in it.
            callback = getattr(loop, "_signal_handlers", {}).get(number)
            former = signal.getsignal(number)
            if callback is not None:
                stack.enter_context(_in_loop(loop, number, callback, drain))
            elif callable(former) and former is not signal.default_int_handler:
                stack.enter_context(_in_process(number, former, drain))
        yield


@contextlib.contextmanager
def _in_process(number: int, former: Any, drain: Callable[[], Awaitable[None]]) -> Iterator[None]:
    handler = _Heard(former, drain)
    signal.signal(number, handler)
    try:
        yield
    finally:
        handler.over = True
        # Servers may end in another order than they began; a handler of somebody else's on top of ours stays.
        while isinstance(current := signal.getsignal(number), _Heard) and current.over:
            signal.signal(number, current.former)


@contextlib.contextmanager
def _in_loop(
    loop: asyncio.AbstractEventLoop, number: int, former: Any, drain: Callable[[], Awaitable[None]]
) -> Iterator[None]:
    handler = _Heard(lambda *_: former._callback(*former._args), drain)
    loop.add_signal_handler(number, handler, number, None)
    try:
        yield
    finally:
        handler.over = True
        current = getattr(loop, "_signal_handlers", {}).get(number)
        if current is not None and current._callback is handler:
            loop.add_signal_handler(number, former._callback, *former._args)
