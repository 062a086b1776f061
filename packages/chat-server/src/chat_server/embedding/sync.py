"""The server for threads: Flask, Celery, Django views, scripts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TypeVar

from chat_common import wire
from chat_common.errors import Unavailable

from chat_server.embedding.home import WrongLoop
from chat_server.embedding.in_process import InProcess
from chat_server.embedding.people import ProfileOf

T = TypeVar("T")
TIMEOUT = 30.0
"""Seconds for which a thread waits for an answer."""


class SyncServer:
    """The same as the methods of `Server`, for any thread but that of the server's event loop; each waits for its
    answer, at most ``timeout`` seconds. Errors are those of `Server`; `Unavailable` when no answer came in time: what
    was asked may have happened, and the same ``ref`` asks again safely.

    In a process without an event loop, ``with server.sync:`` opens the server on a thread of its own, and closes it.
    """

    def __init__(
        self, server: InProcess, opened: Callable[[], AbstractAsyncContextManager[Any]], timeout: float = TIMEOUT
    ) -> None:
        self._server = server
        self._opened = opened
        self.timeout = timeout
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], None] = lambda: None
        self._ended: Future[None] = Future()

    def call(self, command: Any, params: Any = None, *, user: str | None = None, ref: str | None = None) -> Any:
        """See `Server.call`."""
        return self._wait(lambda: self._server.call(command, params, user=user, ref=ref))

    def submit(self, message: Any, *, user: str, ref: str | None = None) -> wire.Receipt:
        """See `Server.submit`."""
        return self._wait(lambda: self._server.submit(message, user=user, ref=ref))

    def ensure_user(
        self,
        subject: str,
        name: str | None = None,
        *,
        avatar: str | None = None,
        profile: ProfileOf = "new",
        provider: str = "app",
    ) -> wire.User:
        """See `Server.ensure_user`."""
        return self._wait(
            lambda: self._server.ensure_user(subject, name, avatar=avatar, profile=profile, provider=provider)
        )

    def issue_token(self, user: str, device: str | None = None) -> str:
        """See `Server.issue_token`."""
        return self._wait(lambda: self._server.issue_token(user, device))

    def _wait(self, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        loop = self._server.home.loop
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop:
            raise WrongLoop("`server.sync` would stop its own event loop here: await the method of the server itself.")
        future = asyncio.run_coroutine_threadsafe(begin(), loop)
        try:
            return future.result(self.timeout)
        except TimeoutError:
            if future.done():  # The server's own.
                raise
            future.cancel()
            raise Unavailable(f"The chat server did not answer within {self.timeout:g} s.") from None

    # --- a thread of its own ---

    def __enter__(self) -> Self:
        opened: Future[None] = Future()
        self._ended = Future()
        self._thread = threading.Thread(target=self._live, args=(opened,), name="chat-server", daemon=True)
        self._thread.start()
        opened.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop()
            thread.join()
            self._ended.result()

    def _live(self, opened: Future[None]) -> None:
        async def live() -> None:
            over = asyncio.Event()
            loop = asyncio.get_running_loop()

            def stop() -> None:
                loop.call_soon_threadsafe(over.set)

            self._stop = stop
            async with self._opened():
                opened.set_result(None)
                await over.wait()

        try:
            asyncio.run(live())
        except BaseException as error:
            (self._ended if opened.done() else opened).set_exception(error)
        else:
            self._ended.set_result(None)
