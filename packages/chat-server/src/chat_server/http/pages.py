"""The web client's files, and the headers that keep pages to themselves."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chat_server.asked_address import HOST

_ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(self), payment=(), usb=()",
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
            "worker-src 'self'",
            # No code, the client's or a plugin's, can make markup or scripts of text; the one policy is for the worker.
            "require-trusted-types-for 'script'",
            "trusted-types chat-worker",
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
        if HOST.fullmatch(host):
            found.append(f"{'wss' if scope.get('scheme') == 'https' else 'ws'}://{host.lower()}")
        return list(dict.fromkeys(found))


class WebClient:
    """The web client's files, read once and kept in memory; packed too, once somebody has asked for them packed.

    The page names every file under ``static/DIGEST/``, where DIGEST stands for the content of all of them: a browser
    keeps those for a year and asks for none again until another version has another digest. The page lists all modules,
    so that they come in one round. Under ``static/`` without a digest the same files are asked for again each time, by
    ETag; programs that use the client library of this server take it from there.
    """

    def __init__(self, folder: Path) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != "index.html" and path.suffix in _TYPES
        }
        hashed = hashlib.sha256()
        for name, content in self._files.items():
            hashed.update(f"{name}\0{len(content)}\0".encode() + content)
        self.digest = hashed.hexdigest()[:16]
        self._packed: dict[str, bytes] = {}
        self._index = self._page((folder / "index.html").read_text("utf-8")).encode()

    def routes(self) -> list[BaseRoute]:
        """``GET /``, ``GET /static/…``, and what has to lie beside the page: the service worker and the manifest."""
        return [
            Route("/", self._root),
            Route("/static/{path:path}", self._static),
            Route("/sw.js", self._beside),
            Route("/manifest.webmanifest", self._beside),
        ]

    def _page(self, page: str) -> str:
        modules = [
            name
            for name in self._files
            if name.endswith(".js") and name.startswith(("app/", "client/", "vendor/", "chat-client.js"))
        ]
        preload = "".join(f'\n  <link rel="modulepreload" href="static/{name}">' for name in modules)
        page = page.replace("\n</head>", f"{preload}\n</head>")
        return page.replace('"static/', f'"static/{self.digest}/')

    async def _root(self, request: Request) -> Response:
        return self._answer(request, "index.html", self._index, ("text/html; charset=utf-8", False), "no-cache")

    async def _static(self, request: Request) -> Response:
        path: str = request.path_params["path"]
        kept = path.startswith(f"{self.digest}/")
        return self._file(request, path.removeprefix(f"{self.digest}/"), _FOR_EVER if kept else "no-cache")

    async def _beside(self, request: Request) -> Response:
        return self._file(request, request.url.path.rpartition("/")[2], "no-cache")

    def _file(self, request: Request, name: str, cache: str) -> Response:
        content = self._files.get(name)
        if content is None:
            raise HTTPException(404)
        return self._answer(request, name, content, _TYPES[_suffix(name)], cache)

    def _answer(self, request: Request, name: str, content: bytes, kind: tuple[str, bool], cache: str) -> Response:
        headers = {"cache-control": cache, "etag": f'"{self.digest}"', "vary": "accept-encoding"}
        if f'"{self.digest}"' in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        media_type, worth_packing = kind
        if worth_packing and "gzip" in request.headers.get("accept-encoding", ""):
            content, headers["content-encoding"] = self._pack(name, content), "gzip"
        return Response(content, media_type=media_type, headers=headers)

    def _pack(self, name: str, content: bytes) -> bytes:
        """Packed when first asked for, about 0.5 ms a file: all of them would be a twentieth of a start."""
        packed = self._packed.get(name)
        if packed is None:
            packed = self._packed[name] = gzip.compress(content, mtime=0)
        return packed


_FOR_EVER = "public, max-age=31536000, immutable"
_TYPES = {  # suffix → type, and whether it is worth packing
    ".js": ("text/javascript; charset=utf-8", True),
    ".css": ("text/css; charset=utf-8", True),
    ".json": ("application/json", True),
    ".svg": ("image/svg+xml", True),
    ".webmanifest": ("application/manifest+json", True),
    ".ts": ("text/plain; charset=utf-8", True),
    ".png": ("image/png", False),
}


def _suffix(name: str) -> str:
    return f".{name.rpartition('.')[2]}"
