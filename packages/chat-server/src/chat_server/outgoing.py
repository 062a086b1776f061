"""Calls from this server to others over HTTP: short, bounded, and without redirects.

Secrets travel in them, so nothing that is said or raised here holds an address or a body.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

ANSWER_BYTES = 65_536


class NoAnswer(Exception):
    """There was no whole answer in time, or one that is too long. The message says why."""


def http_client() -> Any:
    """The module of the HTTP client, which is in extras and slow to import; `ImportError` where it is not installed."""
    import httpx2

    # It logs whole addresses at the level INFO, and secrets stand in some.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    return httpx2


def new_client(**options: Any) -> Any:
    """An ``AsyncClient`` that follows nobody elsewhere, neither by a redirect nor by the environment."""
    return http_client().AsyncClient(verify=_certificates(), follow_redirects=False, trust_env=False, **options)


@cache
def _certificates() -> Any:
    """Reading the certificates takes longer than many a start: once for all clients."""
    return http_client().create_ssl_context(trust_env=False)


@asynccontextmanager
async def answered_within(seconds: float) -> AsyncIterator[None]:
    """Whatever keeps an answer from coming in these seconds is `NoAnswer`."""
    httpx2 = http_client()
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise NoAnswer(f"no whole answer within {seconds:g} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise NoAnswer(type(error).__name__) from error


async def body_of(answer: Any) -> bytes:
    """The body of an answer that is being received; `NoAnswer` when it is longer than 64 KiB."""
    body = b""
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > ANSWER_BYTES:
            raise NoAnswer(f"an answer of more than {ANSWER_BYTES} bytes")
    return body
