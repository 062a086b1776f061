"""The web client's files, and the headers that keep pages to themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from os import PathLike
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def content_security_policy(stores: Sequence[str] = ()) -> str:
    """What a page may do. ``stores``: origins of object stores, which pages read files from and put files to."""
    more = "".join(f" {origin}" for origin in stores)
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' data: blob:{more}",
            f"media-src 'self' blob:{more}",
            f"connect-src 'self' ws: wss:{more}",
            "font-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )


CONTENT_SECURITY_POLICY = content_security_policy()
_ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}


class SecurityHeaders:
    """Adds the headers to every answer that has not set its own."""

    def __init__(self, app: ASGIApp, stores: Sequence[str] = ()) -> None:
        self._app = app
        self._headers = {"content-security-policy": content_security_policy(stores), **_ALWAYS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


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
