"""Signed deliveries to the address that the operator has configured: short, bounded, and without redirects."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from chat_common.clock import Clock
from chat_common.settings import SetupError

from chat_server.outgoing import NoAnswer, answered_within, body_of, http_client, new_client
from chat_server.signing import Signer

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
            http_client()
        except ImportError:
            raise SetupError("Webhooks need more packages: install interesting-chat-server[webhooks].") from None
        self._address, self._signer, self._timeout, self._clock = address, signer, timeout, clock
        self._client: Any = None

    async def post(self, name: str, body: bytes) -> bytes:
        """Deliver; the body of an answer with a status from 200 to 299. ``name``: the id of the delivery, the same at
        every attempt. Whatever else comes of it within the time limit, or not, is `DeliveryFailed`."""
        seconds = self._clock.wall_ms() // 1000
        headers = {"content-type": "application/json", **self._signer.headers(name, seconds, body)}
        try:
            async with (
                answered_within(self._timeout),
                self._opened().stream("POST", self._address, content=body, headers=headers) as answer,
            ):
                if not 200 <= answer.status_code < 300:
                    raise DeliveryFailed(f"status {answer.status_code}")
                return await body_of(answer)
        except NoAnswer as error:
            raise DeliveryFailed(str(error)) from error

    async def close(self) -> None:
        """End idle connections; a later delivery makes new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _opened(self) -> Any:
        if self._client is None:
            limits = http_client().Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
            self._client = new_client(timeout=self._timeout, limits=limits)
        return self._client
