"""The pages that a phone's camera opens: who waits, and a press to let it in. They need no script.

A press is a POST with a CSRF token that goes with a cookie (HttpOnly, SameSite=Strict) and with this login. A phone
that is known shows so by its own cookie (HttpOnly, SameSite=Lax, since the camera comes from outside the site), which
confirms logins and is good for nothing else. Nothing here redirects.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

from attrs import frozen
from chat_common.clock import Clock
from chat_common.errors import ChatError, Conflict, NotAuthenticated, NotPermitted, RateLimited
from chat_common.ports.identity import Attempt, Waiting
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from chat_server.auth.issue import TooManyLogins
from chat_server.auth.passwords import PASSWORD_MAX, PASSWORD_MIN, PasswordCredentials, PasswordIdentity
from chat_server.auth.phones import Phones
from chat_server.auth.register import Registration
from chat_server.auth.templates import STYLE, Confirmation, confirmation, notice, page
from chat_server.auth.tickets import TicketLogins
from chat_server.auth.translations import language, texts

CSRF_COOKIE, PHONE_COOKIE = "chat_login", "chat_phone"
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
class PageNeighbours:
    """What the pages ask. ``passwords`` is None where that provider is not offered."""

    logins: TicketLogins
    registration: Registration
    passwords: PasswordIdentity | None
    phones: Phones


@frozen
class PageSettings:
    """``key`` signs CSRF tokens and is the same on every node. ``remember_for``: of a phone, in seconds.
    ``public_url``: what browsers use, where it is set; with https the cookies are `Secure` whatever the proxy says."""

    key: bytes
    registration: str
    remember_for: int
    public_url: str = ""


class LoginPages:
    """``GET`` and ``POST /login/CODE``."""

    def __init__(self, neighbours: PageNeighbours, settings: PageSettings, clock: Clock) -> None:
        self._logins, self._registration = neighbours.logins, neighbours.registration
        self._passwords, self._phones = neighbours.passwords, neighbours.phones
        self._settings, self._clock = settings, clock

    def routes(self) -> Sequence[BaseRoute]:
        """For the HTTP application."""
        return [
            Route("/login/style.css", _style, methods=["GET"]),
            Route("/login/{code}", self.show, methods=["GET"]),
            Route("/login/{code}", self.press, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """Who waits; the waiting screen shows that its code was scanned."""
        code: str = request.path_params["code"]
        waiting = await self._logins.waiting(code)
        if waiting is None:
            return self._gone(request)
        if request.method == "GET":
            await self._logins.scanned(code)
        return await self._ask(request, waiting)

    async def press(self, request: Request) -> Response:
        """Yes, no, or somebody else."""
        code: str = request.path_params["code"]
        waiting = await self._logins.waiting(code)
        if waiting is None:
            return self._gone(request)
        t = texts(_language(request))
        if is_foreign(request, self._settings.public_url):
            return await self._ask(request, waiting, t["foreign"], status=403)
        form = await _form(request)
        if form is None:
            return await self._ask(request, waiting, t["form"], status=400)
        if not self._csrf_good(request, code, form.get("csrf", "")):
            return await self._ask(request, waiting, t["stale"], status=403)
        action = form.get("action", "")
        if action == "refuse":
            await self._logins.refuse(code)
            return self._page(request, t["refused"], notice(t["refused.text"]))
        if action == "forget":
            await self._phones.forget(self._cookie(request, PHONE_COOKIE))
            answer = await self._ask(request, waiting, stranger=True)
            self._set(request, answer, PHONE_COOKIE, "", "lax", 0)
            return answer
        try:
            user = await self._who(request, action, form)
            if user is None:
                return await self._ask(request, waiting, t["stale"], status=403)
            # Before the decision: what fails here must not leave a screen that is logged in by nobody's phone.
            phone = None if action == "confirm" else await self._phones.remember(user, _address(request))
            if not await self._logins.succeed_as(code, user):
                return self._gone(request)
        except _FieldError as problem:
            return await self._ask(request, waiting, t[problem.word], status=400, name=form.get("name", ""))
        except ChatError as error:
            said = _said(t, action, error)
            return await self._ask(request, waiting, said, status=error.status, name=form.get("name", ""))
        done = self._page(request, t["done"], notice(t["done.text"]))
        if phone is not None:
            self._set(request, done, PHONE_COOKIE, phone, "lax", self._settings.remember_for)
        return done

    async def _who(self, request: Request, action: str, form: Mapping[str, str]) -> str | None:
        """The person who presses, proven; None where the cookie says nothing any more."""
        address = _address(request)
        if action == "confirm":
            known = await self._phones.remembered(self._cookie(request, PHONE_COOKIE))
            return None if known is None else known.user
        name, password = form.get("name", "").strip(), form.get("password", "")
        if not 1 <= len(name) <= 64 or not name.isprintable():
            raise _FieldError("name.bad")
        if action == "password" and self._passwords:
            if not 1 <= len(password) <= PASSWORD_MAX:
                raise _FieldError("wrong")
            proof = await self._passwords.prove(PasswordCredentials(name=name, password=password), Attempt(address))
            return await self._registration.user_of(proof)
        if action == "create":
            if password and not (self._passwords and PASSWORD_MIN <= len(password) <= PASSWORD_MAX):
                raise _FieldError("password.bad")
            return await self._registration.create(name, password or None, form.get("invite"), address)
        return None

    async def _ask(
        self,
        request: Request,
        waiting: Waiting,
        error: str | None = None,
        *,
        status: int = 200,
        name: str = "",
        stranger: bool = False,
    ) -> Response:
        t = texts(_language(request))
        cookie = self._cookie(request, CSRF_COOKIE)
        if not 20 <= len(cookie) <= 64:
            cookie = secrets.token_urlsafe(24)
        known = None if stranger else await self._phones.remembered(self._cookie(request, PHONE_COOKIE))
        shown = Confirmation(
            waiting,
            age=max(0, (self._clock.wall_ms() - waiting.begun_at) // 1000),
            host=request.headers.get("host", ""),
            csrf=self._csrf(cookie, waiting.code),
            known=None if known is None else known.name,
            registration=self._settings.registration,
            password=self._passwords is not None,
            error=error,
            name=name,
        )
        answer = self._page(request, t["title"], confirmation(t, shown), status)
        self._set(request, answer, CSRF_COOKIE, cookie, "strict", None)
        return answer

    def _gone(self, request: Request) -> Response:
        t = texts(_language(request))
        return self._page(request, t["gone"], notice(t["gone.text"]), 404)

    def _page(self, request: Request, title: str, body: Markup, status: int = 200) -> Response:
        chosen = _language(request)
        headers = {**HEADERS, "content-language": chosen, "vary": "accept-language, cookie"}
        return Response(page(chosen, title, body), status, headers, "text/html; charset=utf-8")

    def _csrf(self, cookie: str, code: str) -> str:
        return hmac.new(self._settings.key, f"{cookie} {code}".encode(), "sha256").hexdigest()

    def _csrf_good(self, request: Request, code: str, given: str) -> bool:
        cookie = self._cookie(request, CSRF_COOKIE)
        return bool(cookie) and hmac.compare_digest(self._csrf(cookie, code).encode(), given.encode())

    def _set(self, request: Request, answer: Response, name: str, value: str, same: str, age: int | None) -> None:
        secure = self._secure(request)
        answer.set_cookie(
            PREFIX + name if secure else name,
            value,
            max_age=age,
            path="/" if secure else _path(request),
            secure=secure,
            httponly=True,
            samesite="strict" if same == "strict" else "lax",
        )

    def _cookie(self, request: Request, name: str) -> str:
        return request.cookies.get(PREFIX + name if self._secure(request) else name, "")

    def _secure(self, request: Request) -> bool:
        return request.url.scheme == "https" or self._settings.public_url.startswith("https://")


class _FieldError(Exception):
    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def is_foreign(request: Request, public_url: str) -> bool:
    """Whether a browser says that a page of another site has sent this. Old browsers say nothing, and are not asked."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("origin")
    if origin is None:
        return False
    try:
        found, public = urlsplit(origin).netloc.lower(), urlsplit(public_url).netloc.lower()
    except ValueError:
        return True
    return not found or found not in (request.headers.get("host", "").lower(), public)


def _said(t: Mapping[str, str], action: str, error: ChatError) -> str:
    if isinstance(error, RateLimited):
        return t["slow"].format(n=round(error.retry_after or 1))
    if isinstance(error, NotAuthenticated):
        return t["wrong"]
    if isinstance(error, TooManyLogins):
        return t["devices"]
    if isinstance(error, Conflict):
        return t["taken"]
    if isinstance(error, NotPermitted):
        return t["invite.bad"] if error.field == "invite" else t["closed"] if action == "create" else t["banned"]
    return t["failed"]


async def _style(request: Request) -> Response:
    return Response(STYLE, 200, {"cache-control": "no-cache", "x-content-type-options": "nosniff"}, "text/css")


async def _form(request: Request) -> Mapping[str, str] | None:
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


def _language(request: Request) -> str:
    return language(request.headers.get("accept-language", ""))


def _address(request: Request) -> str | None:
    return request.client.host if request.client else None


def _path(request: Request) -> str:
    return f"{request.scope.get('root_path', '')}/login"
