"""Logins at another site, in the browser: our page first, a press, then the site, then back here.

The link that a screen shows is a page of this server and never the other site's: a stranger who sends somebody his link
must not be helped by a site that agrees silently. The press makes a *transaction*: its state goes to the other site and
is taken from the cache once, its cookie stays in this browser, and whoever comes back needs both.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec
import structlog
from attrs import frozen
from chat_common.decoding import prepare
from chat_common.errors import ChatError, NotAuthenticated, NotPermitted, RateLimited, Unavailable
from chat_common.ports.cache import Cache
from chat_common.ports.identity import Link, Proof, TicketIdentity, Waiting
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from chat_server.auth.frame import CSRF_COOKIE, Frame, language_of, read_form
from chat_server.auth.issue import TooManyLogins
from chat_server.auth.public_address import PublicAddress
from chat_server.auth.templates import Departure, departure, going_on, notice
from chat_server.auth.tickets import TicketLogins
from chat_server.auth.translations import texts

log = structlog.get_logger("chat.auth")
COOKIE = "chat_tx"
LIFETIME = 600.0
QUERY_CHARS = 8_192


@frozen
class Transaction:
    """One press: ``code`` of the login that waits, the ``provider``, what the other site must give back or prove."""

    code: str
    provider: str
    state: str
    verifier: str
    nonce: str
    redirect_uri: str
    cookie: str

    @property
    def challenge(self) -> str:
        """The PKCE challenge (S256) that goes with the verifier."""
        return base64url(hashlib.sha256(self.verifier.encode()).digest())


prepare(Transaction)


@runtime_checkable
class RedirectIdentity(TicketIdentity, Protocol):
    """A `TicketIdentity` whose link is ``PUBLIC_URL/login/NAME/CODE``: see `redirect_link`."""

    async def authorize(self, transaction: Transaction) -> str:
        """Return the address at the other site to which the person goes. `Unavailable`."""
        ...

    async def finish(self, query: Mapping[str, str], transaction: Transaction) -> Proof:
        """Return the identity that the answer proves. `NotAuthenticated`: it proves none; `Unavailable`."""
        ...


def redirect_link(address: PublicAddress, name: str, waiting: Waiting) -> Link:
    """Return the link of a `RedirectIdentity`: ten minutes, since a password and a second factor take their time."""
    base = address.url
    return Link(f"{base}/login/{name}/{waiting.code}", address.warning(base), LIFETIME)


def base64url(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Page(Protocol):
    """A page of one provider."""

    async def __call__(self, request: Request, name: str) -> Response: ...


class Handler(Protocol):
    """What a route calls."""

    async def __call__(self, request: Request) -> Response: ...


class RedirectPages:
    """``/login/NAME/CODE`` and ``/login/NAME/callback`` of every `RedirectIdentity`."""

    def __init__(
        self,
        providers: Mapping[str, RedirectIdentity],
        logins: TicketLogins,
        cache: Cache,
        frame: Frame,
        address: PublicAddress,
    ) -> None:
        self._providers = providers
        self._logins, self._cache, self._frame, self._address = logins, cache, frame, address

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes for the HTTP application."""
        made: list[BaseRoute] = []
        for name in self._providers:
            made += [
                Route(f"/login/{name}/callback", self._bound(name, self.callback), methods=["GET"]),
                Route(f"/login/{name}/{{code}}", self._bound(name, self.show), methods=["GET"]),
                Route(f"/login/{name}/{{code}}", self._bound(name, self.press), methods=["POST"]),
            ]
        return made

    def _bound(self, name: str, page: Page) -> Handler:
        async def handler(request: Request) -> Response:
            return await page(request, name)

        return handler

    async def show(self, request: Request, name: str) -> Response:
        """Who waits, and a press to go on; the waiting screen shows that its link was opened."""
        code: str = request.path_params["code"]
        waiting = await self._logins.waiting_for(code, name)
        if waiting is None:
            return self._frame.gone(request)
        await self._logins.scanned(code)
        return self._ask(request, name, waiting)

    async def press(self, request: Request, name: str) -> Response:
        """Go on to the other site, or refuse."""
        code: str = request.path_params["code"]
        waiting = await self._logins.waiting_for(code, name)
        if waiting is None:
            return self._frame.gone(request)
        t = texts(language_of(request))
        if self._frame.is_foreign(request):
            return self._ask(request, name, waiting, t["foreign"], 403)
        form = await read_form(request)
        if form is None:
            return self._ask(request, name, waiting, t["form"], 400)
        if not self._frame.csrf_good(request, code, form.get("csrf", "")):
            return self._ask(request, name, waiting, t["stale"], 403)
        if form.get("action") == "refuse":
            await self._logins.refuse(code)
            return self._frame.page(request, t["refused"], notice(t["refused.text"]))
        cookie = secrets.token_urlsafe(32)
        transaction = Transaction(
            code,
            name,
            secrets.token_hex(32),  # Letters and digits alone: not every site takes others.
            secrets.token_urlsafe(48),
            secrets.token_urlsafe(24),
            f"{self._address.url}/login/{name}/callback",
            _hash(cookie),
        )
        try:
            target = await self._providers[name].authorize(transaction)
        except ChatError as error:
            log.warning("login_redirect_failed", provider=name, step="authorize", code=error.code, reason=error.message)
            return self._ask(request, name, waiting, t["platform"], error.status)
        await self._cache.put(_key(transaction.state), msgspec.json.encode(transaction), ttl=LIFETIME)
        # A page that goes on by itself and no redirect: a policy of form-action may stop a redirect after a form.
        answer = self._frame.page(request, t["going"], going_on(t, target, self._providers[name].title))
        answer.headers["refresh"] = f"0;url={target}"
        self._frame.set(request, answer, COOKIE, cookie, "lax", round(LIFETIME))
        return answer

    async def callback(self, request: Request, name: str) -> Response:
        """Back from the other site. Whatever comes, the transaction is spent, and after a failure the ticket too."""
        answer = await self._finish(request, name)
        self._frame.set(request, answer, COOKIE, "", "lax", 0)
        return answer

    async def _finish(self, request: Request, name: str) -> Response:
        t = texts(language_of(request))
        query = dict(request.query_params)
        if len(request.url.query) > QUERY_CHARS:
            return self._frame.page(request, t["again"], notice(t["again.text"]), 400)
        found = await self._cache.take(_key(query.get("state", "")))
        transaction = None if found is None else msgspec.json.decode(found, type=Transaction)
        if transaction is None or transaction.provider != name:
            return self._frame.page(request, t["again"], notice(t["again.text"]), 400)
        if not hmac.compare_digest(_hash(self._frame.cookie(request, COOKIE)), transaction.cookie):
            # Begun in another browser: somebody was sent the address of somebody else's login.
            log.warning("login_redirect_failed", provider=name, step="cookie")
            await self._logins.refuse(transaction.code)
            return self._frame.page(request, t["again"], notice(t["again.text"]), 403)
        if await self._logins.waiting_for(transaction.code, name) is None:
            return self._frame.gone(request)
        try:
            if "error" in query:
                log.info("login_redirect_denied", provider=name, error=query["error"][:64])
                await self._logins.refuse(transaction.code)
                return self._frame.page(request, t["refused"], notice(t["refused.text"]))
            proof = await self._providers[name].finish(query, transaction)
            if not await self._logins.succeed(transaction.code, proof):
                return self._frame.gone(request)
        except ChatError as error:
            log.warning("login_redirect_failed", provider=name, step="finish", code=error.code, reason=error.message)
            await self._logins.refuse(transaction.code)
            return self._frame.page(request, t["again"], notice(_said(t, error)), error.status)
        return self._frame.page(request, t["done"], notice(t["done.text"]))

    def _ask(
        self, request: Request, name: str, waiting: Waiting, error: str | None = None, status: int = 200
    ) -> Response:
        t = texts(language_of(request))
        cookie = self._frame.csrf_cookie(request)
        shown = Departure(
            waiting,
            self._logins.age(waiting),
            request.headers.get("host", ""),
            self._frame.csrf(cookie, waiting.code),
            self._providers[name].title,
            error,
        )
        answer = self._frame.page(request, t["title"], departure(t, shown), status)
        self._frame.set(request, answer, CSRF_COOKIE, cookie, "strict", None)
        return answer


def _said(t: Mapping[str, str], error: ChatError) -> str:
    if isinstance(error, TooManyLogins):
        return t["devices"]
    if isinstance(error, RateLimited):
        return t["slow"].format(n=round(error.retry_after or 1))
    if isinstance(error, NotPermitted):
        return t[{"banned": "banned", "invite": "invited"}.get(error.reason or "", "closed")]
    if isinstance(error, Unavailable):
        return t["platform"]
    return t["unproven"] if isinstance(error, NotAuthenticated) else t["failed"]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _key(state: str) -> str:
    return f"login:tx:{_hash(state)}"
