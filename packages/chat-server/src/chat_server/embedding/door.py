"""`Server.app`: an ASGI application that is there before the server is, so that it can be mounted at import time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from chat_common.errors import Unavailable
from starlette.types import ASGIApp, Receive, Scope, Send

from chat_server.embedding.home import Home
from chat_server.http.errors import error_answer

AGAIN = 2.0
"""Seconds after which a client may ask again that came while the server was closed."""


class Door:
    """Hands everything to the open server's own application; while it is closed, answers 503 with ``retry_after``.

    As an application by itself it opens and closes the server by the ASGI lifespan. A mounted application gets no
    lifespan events: whoever mounts it opens the server.
    """

    def __init__(self, home: Home, opened: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._home = home
        self._opened = opened
        self._site: ASGIApp | None = None

    def open(self, site: ASGIApp) -> None:
        """The server is open: its application answers."""
        self._site = site

    def close(self) -> None:
        """The server is closed, or about to be."""
        self._site = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._site is None:
            await _closed(scope, receive, send)
        else:
            self._home.check()
            await self._site(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        begun = "startup"
        try:
            async with self._opened():
                begun = "shutdown"
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except BaseException as error:
            await send({"type": f"lifespan.{begun}.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.shutdown.complete"})


async def _closed(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1013, "reason": "the chat server is not open"})
            return
    answer = error_answer(Unavailable("The chat server is not open now. Try again.", retry_after=AGAIN))
    answer.headers["cache-control"] = "no-store"
    await answer(scope, receive, send)
