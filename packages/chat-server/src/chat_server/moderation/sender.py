"""Signed deliveries to the address that the operator has configured: short, bounded, and without redirects."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import urlsplit

from chat_common.clock import Clock
from chat_common.settings import SetupError

from chat_server.signing import Signer

ANSWER_BYTES = 65_536
CONNECTIONS = 50


class DeliveryFailed(Exception):
    """The address did not take it. The message holds no body and no query of the address."""


class Sender:
    """One address. `SetupError`: it is no address of HTTP, or the client's package is not installed."""

    def __init__(self, key: str, address: str, signer: Signer, timeout: float, clock: Clock) -> None:
        found = urlsplit(address)
        if found.scheme not in ("http", "https") or not found.hostname or found.username is not None:
            raise SetupError(f"[webhooks] {key}: an address with http:// or https:// and a host is expected.")
        try:
            import httpx2  # in an extra, and slow to import
        except ImportError:
            raise SetupError("Webhooks need more packages: install interesting-chat-server[webhooks].") from None
        # It logs whole addresses at the level INFO, and a query may hold a token.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        self._httpx2: Any = httpx2
        self._address, self._signer, self._timeout, self._clock = address, signer, timeout, clock
        self._client: Any = None

    async def post(self, name: str, body: bytes) -> bytes:
        """Deliver; the body of an answer with a status from 200 to 299. ``name``: the id of the delivery, the same at
        every attempt. Whatever else comes of it within the time limit, or not, is `DeliveryFailed`."""
        seconds = self._clock.wall_ms() // 1000
        headers = {"content-type": "application/json", **self._signer.headers(name, seconds, body)}
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._opened().stream("POST", self._address, content=body, headers=headers) as answer,
            ):
                if not 200 <= answer.status_code < 300:
                    raise DeliveryFailed(f"status {answer.status_code}")
                content = b""
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > ANSWER_BYTES:
                        raise DeliveryFailed(f"an answer of more than {ANSWER_BYTES} bytes")
                return content
        except TimeoutError:
            raise DeliveryFailed(f"no whole answer within {self._timeout:g} s") from None
        except (self._httpx2.HTTPError, self._httpx2.InvalidURL) as error:
            raise DeliveryFailed(type(error).__name__) from error

    async def close(self) -> None:
        """End idle connections; a later delivery makes new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _opened(self) -> Any:
        if self._client is None:
            self._client = self._httpx2.AsyncClient(
                timeout=self._timeout,
                follow_redirects=False,
                trust_env=False,
                limits=self._httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            )
        return self._client
