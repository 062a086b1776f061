"""Commands over HTTP: what a client needs before it has a token."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

import msgspec
from attrs import frozen

from chat_common.decoding import prepare
from chat_common.errors import ChatError, Internal, Unavailable, error_types
from chat_common.wire import User

HTTP_TIMEOUT = 15.0


@frozen
class Login:
    """A token, when it expires (ms since 1970), and whose it is."""

    token: str
    expires_at: int
    user: User


prepare(Login)


async def dev_login(url: str, name: str, device: str | None = None) -> Login:
    """Log in by name at a server that runs with ``--dev``; the first use makes the user.

    Raises the server's error, or `Unavailable` when it cannot be reached.
    """
    params = {"name": name} if device is None else {"name": name, "device": device}
    answer = await post(url, "auth.dev", params)
    return msgspec.convert(answer, Login)


async def password_login(url: str, name: str, password: str, device: str | None = None) -> Login:
    """Log in by name and password. Raises the server's error, or `Unavailable` when it cannot be reached."""
    params = {"name": name, "password": password} | ({} if device is None else {"device": device})
    return msgspec.convert(await post(url, "auth.password", params), Login)


async def post(
    url: str, command: str, params: Any = None, *, token: str | None = None, ref: str | None = None
) -> dict[str, Any]:
    """One command over HTTP; ``url`` is the server's ``http://HOST:PORT``, ``ref`` its idempotency key.

    Raises the server's error as its class, `Unavailable` when it cannot be reached.
    """
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if ref is not None:
        headers["Idempotency-Key"] = ref
    body = json.dumps({} if params is None else params).encode()
    request = urllib.request.Request(f"{url.rstrip('/')}/api/{command}", body, headers, method="POST")
    return await asyncio.to_thread(_answer, request)


def _answer(request: urllib.request.Request) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        raise error_of(error.status or 500, error.read()) from None
    except (OSError, ValueError) as error:
        raise Unavailable(f"{request.full_url}: {error}") from error


def error_of(status: int, body: bytes) -> ChatError:
    """The error that an HTTP answer tells, as its class."""
    try:
        told = json.loads(body)
        kind = error_types()[told["code"]]
    except (ValueError, KeyError, TypeError):
        return Internal(f"HTTP {status}")
    details = {name: told[name] for name in ("field", "limit", "retry_after", "details") if name in told}
    return kind(told.get("message", ""), **details)
