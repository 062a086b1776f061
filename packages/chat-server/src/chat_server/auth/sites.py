"""Calls to the sites at which people prove who they are: short, bounded, without redirects, and never logged whole.

Secrets travel in such calls, so neither an address with its query nor a body stands in any log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn, Self

import msgspec
import structlog
from chat_common.errors import Unavailable
from chat_common.settings import SetupError

from chat_server.outgoing import NoAnswer, answered_within, body_of, http_client, new_client

log = structlog.get_logger("chat.auth")
SECONDS = 3.0
AWAY = "The login site does not answer. Try again in a minute."


class Site:
    """One provider's site. Every failure of it is `Unavailable`."""

    def __init__(self, provider: str, client: Any) -> None:
        self._provider, self._client = provider, client

    @classmethod
    @asynccontextmanager
    async def open(cls, provider: str) -> AsyncIterator[Self]:
        """Open a client for a provider's calls."""
        try:
            httpx2 = http_client()
        except ImportError:
            raise SetupError(
                f"The login provider {provider!r} needs more packages: install interesting-chat-server[oidc]."
            ) from None
        async with new_client(timeout=httpx2.Timeout(SECONDS, connect=2.0)) as client:
            yield cls(provider, client)

    async def get(self, address: str, *, bearer: str | None = None) -> dict[str, Any]:
        """Return the JSON object at an address."""
        headers = {"accept": "application/json"} | ({"authorization": f"Bearer {bearer}"} if bearer else {})
        status, found = await self._call("GET", address, headers=headers)
        if status != 200:
            self._failed(address, f"status {status}")
        return found

    async def post(
        self, address: str, form: Mapping[str, str], basic: tuple[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send a form; the status, 200 or 400 to 499, and the JSON object."""
        status, found = await self._call(
            "POST", address, data=dict(form), headers={"accept": "application/json"}, auth=basic
        )
        if status != 200 and not 400 <= status < 500:
            self._failed(address, f"status {status}")
        return status, found

    async def text(self, address: str, query: Mapping[str, str]) -> str:
        """Return what is at an address with this query, whatever it is. Neither stands in a log."""
        status, body = await self._read("GET", address, params=dict(query))
        if status != 200:
            self._failed(address, f"status {status}")
        # The content type may name no charset: clients that guess break names.
        return body.decode("utf-8", "replace")

    async def _call(self, method: str, address: str, **options: Any) -> tuple[int, dict[str, Any]]:
        status, body = await self._read(method, address, **options)
        try:
            found = msgspec.json.decode(body)
        except msgspec.DecodeError:
            self._failed(address, f"status {status}, and the answer is not JSON")
        if not isinstance(found, dict):
            self._failed(address, "the answer is not a JSON object")
        return status, found

    async def _read(self, method: str, address: str, **options: Any) -> tuple[int, bytes]:
        try:
            async with answered_within(SECONDS), self._client.stream(method, address, **options) as answer:
                return int(answer.status_code), await body_of(answer)
        except NoAnswer as error:
            self._failed(address, str(error))

    def _failed(self, address: str, reason: str) -> NoReturn:
        log.warning("login_site_failed", provider=self._provider, call=address.partition("?")[0], reason=reason)
        raise Unavailable(AWAY, retry_after=60.0)
