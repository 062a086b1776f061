"""What every login page has in common: its headers, cookies, CSRF tokens, and how its form is read."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Mapping
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from attrs import frozen
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from chat_server.auth.templates import notice, page
from chat_server.auth.translations import language, texts

CSRF_COOKIE = "chat_login"
PREFIX = "__Host-"
"""Of cookies over https: a browser takes such a cookie from this very host only, so no neighbour can plant it."""
BODY_BYTES, BODY_SECONDS = 8_192, 30.0
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none';"
    " base-uri 'none'",
    "cache-control": "no-store",
    # Not "no-referrer": a form would then be sent with the Origin "null", and nobody could tell whose it is.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@frozen
class Frame:
    """``key`` signs CSRF tokens and is the same on every node. ``public_url``: what browsers use, where it is set; with
    https the cookies are `Secure` whatever the proxy says."""

    key: bytes
    public_url: str = ""

    def page(self, request: Request, title: str, body: Markup, status: int = 200) -> Response:
        """Return a whole page in the language of the person who asks."""
        chosen = language_of(request)
        headers = {**HEADERS, "content-language": chosen, "vary": "accept-language, cookie"}
        # Relative, since a proxy may hang all of this below a path: as many steps up as the address has below /login.
        up = "../" * (request.url.path.partition("/login/")[2].count("/"))
        return Response(page(chosen, title, body, f"{up}style.css"), status, headers, "text/html; charset=utf-8")

    def gone(self, request: Request) -> Response:
        """Return the page that says that this login is over."""
        t = texts(language_of(request))
        return self.page(request, t["gone"], notice(t["gone.text"]), 404)

    def csrf_cookie(self, request: Request) -> str:
        """Return the value of the visitor's CSRF cookie, a fresh one where there is none."""
        cookie = self.cookie(request, CSRF_COOKIE)
        return cookie if 20 <= len(cookie) <= 64 else secrets.token_urlsafe(24)

    def csrf(self, cookie: str, code: str) -> str:
        """Return the token for a form about this login, shown to the holder of this cookie."""
        return hmac.new(self.key, f"{cookie} {code}".encode(), "sha256").hexdigest()

    def csrf_good(self, request: Request, code: str, given: str) -> bool:
        """Whether a form was made for this visitor and this login."""
        cookie = self.cookie(request, CSRF_COOKIE)
        return bool(cookie) and hmac.compare_digest(self.csrf(cookie, code).encode(), given.encode())

    def set(
        self,
        request: Request,
        answer: Response,
        name: str,
        value: str,
        same_site: Literal["strict", "lax"],
        age: int | None,
    ) -> None:
        """Set a cookie for ``age`` seconds; None: until the browser ends, 0: delete it."""
        secure = self.secure(request)
        answer.set_cookie(
            PREFIX + name if secure else name,
            value,
            max_age=age,
            path="/" if secure else f"{request.scope.get('root_path', '')}/login",
            secure=secure,
            httponly=True,
            samesite=same_site,
        )

    def cookie(self, request: Request, name: str) -> str:
        """Return the cookie that `set` has set; empty if there is none."""
        return request.cookies.get(PREFIX + name if self.secure(request) else name, "")

    def secure(self, request: Request) -> bool:
        """Whether people come by https."""
        return request.url.scheme == "https" or self.public_url.startswith("https://")

    def is_foreign(self, request: Request) -> bool:
        """Whether a browser says that a page of another site has sent this. Old browsers say nothing, and are not
        asked."""
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return True
        origin = request.headers.get("origin")
        if origin is None:
            return False
        try:
            found, public = urlsplit(origin).netloc.lower(), urlsplit(self.public_url).netloc.lower()
        except ValueError:
            return True
        return not found or found not in (request.headers.get("host", "").lower(), public)


async def read_form(request: Request) -> Mapping[str, str] | None:
    """Return the fields of a form; None if the body is not a form, is too long, or does not arrive."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return None
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > BODY_BYTES:
                    return None
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20, errors="strict"))
    except (ValueError, TimeoutError):
        return None


def language_of(request: Request) -> str:
    """Return the language of the person who asks."""
    return language(request.headers.get("accept-language", ""))
