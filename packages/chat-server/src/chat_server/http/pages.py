"""The web client's files, and the headers that keep pages to themselves."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from os import PathLike
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
HSTS = "max-age=31536000"


def content_security_policy(sockets: Sequence[str] = (), stores: Sequence[str] = ()) -> str:
    """What a page may do. ``sockets``: the origins of our own WebSocket, which `'self'` is not in every browser.
    ``stores``: origins of object stores, which pages read files from and put files to."""
    more = "".join(f" {origin}" for origin in stores)
    own = "".join(f" {origin}" for origin in sockets)
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' data: blob:{more}",
            f"media-src 'self' blob:{more}",
            f"connect-src 'self'{own}{more}",
            "font-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )


class SecurityHeaders:
    """Adds the headers to every answer that has not set its own.

    ``public``: the origin of `[server] public_url`; where it is https, browsers are told to come by nothing else.
    ``shared``: pages of other origins may show what is served here.
    """

    def __init__(self, app: ASGIApp, stores: Sequence[str] = (), public: str = "", shared: bool = False) -> None:
        self._app = app
        self._stores, self._public = tuple(stores), public
        self._always = {**_ALWAYS, "cross-origin-resource-policy": "cross-origin" if shared else "same-origin"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._always.items():
                    headers.setdefault(name, value)
                if "content-security-policy" not in headers:
                    headers["content-security-policy"] = content_security_policy(self._sockets(scope), self._stores)
                if scope.get("scheme") == "https" or self._public.startswith("https:"):
                    headers.setdefault("strict-transport-security", HSTS)
            await send(message)

        await self._app(scope, receive, with_headers)

    def _sockets(self, scope: Scope) -> Sequence[str]:
        """Our own WebSocket under the names that people use."""
        found = []
        if self._public:
            found.append("ws" + self._public.removeprefix("http"))
        host = Headers(scope=scope).get("host", "")
        # What a stranger sends must not become another directive of the policy.
        if _HOST.fullmatch(host):
            found.append(f"{'wss' if scope.get('scheme') == 'https' else 'ws'}://{host.lower()}")
        return list(dict.fromkeys(found))


class WebClient(StaticFiles):
    """Files whose names do not change: kept by the browser, asked for again by ETag each time."""

    def file_response(
        self, full_path: str | PathLike[str], stat_result: object, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)  # type: ignore[arg-type]
        response.headers["cache-control"] = "no-cache"
        return response


def index(folder: Path) -> Callable[[Request], Awaitable[Response]]:
    """``GET /``."""
    files = WebClient(directory=folder)

    async def endpoint(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)

    return endpoint
