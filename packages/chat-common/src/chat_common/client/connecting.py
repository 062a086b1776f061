"""The shortest way to a client that is ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chat_common.client.chat import ChatClient
from chat_common.errors import Unavailable


@asynccontextmanager
async def connect(
    url: str, token: str | None = None, *, timeout: float | None = None, **options: Any
) -> AsyncIterator[ChatClient]:
    """A `ChatClient` that is connected and has synced. Raises when the server refuses the token.

    ``url`` is the server's ``http://HOST:PORT`` or its ``ws://…/ws``; options as for `ChatClient`. Without ``timeout``
    (seconds) it waits until the server is there; with it, `Unavailable` says why that was not so in time.
    """
    async with ChatClient(url, token, **options) as client:
        try:
            async with asyncio.timeout(timeout):
                await (client.live() if token is None else client.settled())
        except TimeoutError:
            why = client.failure or "it accepts connections, but the client has not synced yet"
            raise Unavailable(f"No chat server at {url} answered within {timeout:g} s: {why}") from None
        yield client
