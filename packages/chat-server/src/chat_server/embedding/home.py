"""The event loop on which the server lives: everything that is called in process is called there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from chat_common.errors import Unavailable


class NotOpen(Unavailable):
    """The server was not started yet, or was closed."""

    def __init__(self) -> None:
        super().__init__(
            "The chat server is not open. Enter it first: `async with server:`, or give your application the lifespan"
            " `server.lifespan`."
        )


class WrongLoop(RuntimeError):
    """Something of the server was awaited on another event loop than the one on which it was opened."""


class Home:
    """Knows the server's event loop while it is open."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def enter(self) -> None:
        """The server opens on the loop that runs now. `WrongLoop`: it is open already."""
        if self._loop is not None:
            raise WrongLoop("This chat server is open already: one Server is entered once at a time.")
        self._loop = asyncio.get_running_loop()

    def leave(self) -> None:
        """The server is closed; it may be opened again, on any loop."""
        self._loop = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; `NotOpen`."""
        if self._loop is None:
            raise NotOpen()
        return self._loop

    def check(self) -> None:
        """`NotOpen`, or `WrongLoop` from any other loop than the server's."""
        if asyncio.get_running_loop() is not self.loop:
            raise WrongLoop(
                "This chat server was opened on another event loop. From other threads and loops use `server.sync`,"
                " whose `call`, `submit` and `ensure_user` may be called from anywhere."
            )


class Held:
    """Keeps the server open in a task of its own, so that whoever asked for it first may end."""

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._opened = opened
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._over = asyncio.Event()

    async def start(self) -> None:
        """Open it, or wait until somebody else has."""
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._over = asyncio.Event()
            self._task = asyncio.create_task(self._hold(self._ready), name="chat-server")
        await asyncio.shield(self._ready)

    async def stop(self) -> None:
        """Close it, if `start` has opened it."""
        task, self._task = self._task, None
        if task is not None:
            self._over.set()
            await task

    async def _hold(self, ready: asyncio.Future[None]) -> None:
        try:
            async with self._opened():
                ready.set_result(None)
                await self._over.wait()
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)
        finally:
            self._ready = None  # The next start opens it again.
