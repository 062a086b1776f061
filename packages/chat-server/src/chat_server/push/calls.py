"""Calls to push services: short, bounded, without redirects, and with an outcome whatever comes back.

An address of a device is a secret, so neither it nor a body stands in any log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Self

import structlog
from attrs import frozen
from chat_common.clock import Clock
from chat_common.ports.push import Address, Outcome, Result
from chat_common.settings import SetupError

from chat_server.outgoing import NoAnswer, answered_within, body_of, http_client, new_client

log = structlog.get_logger("chat.push")
CONNECTIONS = 100


@frozen
class Answer:
    """What a service said. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class PushCalls:
    """The calls of one provider."""

    def __init__(self, client: Any, timeout: float, clock: Clock) -> None:
        self._client, self._timeout, self.clock = client, timeout, clock

    @classmethod
    @asynccontextmanager
    async def open(cls, provider: str, timeout: float, clock: Clock, *, http2: bool = False) -> AsyncIterator[Self]:
        """Open a client; ``timeout``: seconds that one answer may take, from the connection to its end."""
        httpx2 = required(provider)
        limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        async with new_client(timeout=httpx2.Timeout(timeout, pool=None), limits=limits, http2=http2) as client:
            yield cls(client, timeout, clock)

    async def post(self, address: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Send; `NoAnswer` unless there is a whole answer in time. May arrive twice."""
        httpx2 = http_client()
        async with answered_within(self._timeout):
            try:
                return await self._post(address, content, headers)
            except (httpx2.NetworkError, httpx2.RemoteProtocolError):
                # A connection that was kept may have been closed by the other side as this went out.
                return await self._post(address, content, headers)

    async def _post(self, address: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        async with self._client.stream("POST", address, content=content, headers=dict(headers)) as answer:
            body = await body_of(answer)
            found = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(int(answer.status_code), found, body)

    def outcome(self, answer: Answer) -> Outcome:
        """What the status of an answer means to most services."""
        if 200 <= answer.status < 300:
            return Outcome(Result.DELIVERED)
        reason = f"status {answer.status}"
        if answer.status in (404, 410):
            return Outcome(Result.GONE, reason=reason)
        if answer.status == 429 or answer.status >= 500:
            return Outcome(Result.LATER, self._retry_after(answer), reason)
        return Outcome(Result.REFUSED, reason=reason)

    def _retry_after(self, answer: Answer) -> float | None:
        """In seconds: a service may say how many, or name a moment (RFC 9110)."""
        said = answer.headers.get("retry-after", "").strip()
        if said.isascii() and said.isdigit():
            return float(said[:9])
        try:
            moment = parsedate_to_datetime(said)
        except ValueError:
            return None
        at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        return max(0.0, at - self.clock.wall_ms() / 1000)


def required(provider: str) -> Any:
    """The module of the HTTP client; `SetupError` where it is not installed."""
    try:
        import http_ece  # type: ignore[import-untyped]  # noqa: F401
        import jwt.algorithms

        httpx2 = http_client()
    except ImportError:
        raise missing(provider) from None
    if not jwt.algorithms.has_crypto:
        raise missing(provider)
    return httpx2


def missing(provider: str) -> SetupError:
    """What is to be installed."""
    return SetupError(f"The push provider {provider!r} needs more packages: install interesting-chat-server[push].")


async def each(addresses: Sequence[Address], send: Callable[[Address], Awaitable[Outcome]]) -> list[Outcome]:
    """Send to all at the same time; whatever goes wrong at one address is that one's outcome."""

    async def one(address: Address) -> Outcome:
        try:
            return await send(address)
        except NoAnswer as error:
            return Outcome(Result.LATER, reason=str(error))
        except Exception as error:  # any: its neighbours are told all the same
            log.exception("push_address_failed")
            return Outcome(Result.LATER, reason=type(error).__name__)

    return list(await asyncio.gather(*map(one, addresses)))


def fitted(build: Callable[[str], bytes], text: str, most: int) -> bytes:
    """The longest of ``build(text)`` with at most ``most`` bytes, where the text is cut at a character."""
    whole = build(text)
    if len(whole) <= most:
        return whole
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if len(build(text[:middle] + "…")) <= most:
            fits = middle
        else:
            too_long = middle
    return build(text[:fits] + "…" if fits else "")
