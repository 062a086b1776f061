"""The address under which the request that is being answered reached this server: for links in its answer."""

from __future__ import annotations

import re
from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

HOST = re.compile(r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")
"""A Host header that can stand in an address: what a stranger sends must not become anything else."""

asked_address: ContextVar[str | None] = ContextVar("chat_asked_address", default=None)
"""Without a slash at its end, with the path under which the server is mounted; None outside of requests.

Tasks that a request starts inherit it, those of its WebSocket too.
"""


def address_of(scope: Scope) -> str | None:
    """Return the address of the server in an ASGI scope; None without a usable Host header."""
    host = Headers(scope=scope).get("host", "")
    if not HOST.fullmatch(host):
        return None
    scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
    return f"{scheme}://{host.lower()}{scope.get('root_path', '')}".rstrip("/")


class NotesAddress:
    """An ASGI application in front of another, which finds `asked_address` set."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        token = asked_address.set(address_of(scope))
        try:
            await self._app(scope, receive, send)
        finally:
            asked_address.reset(token)
