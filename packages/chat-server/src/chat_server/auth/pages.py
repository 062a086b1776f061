"""The pages that a phone's camera opens: who waits, and a press to let it in. They need no script.

A press is a POST with a CSRF token that goes with a cookie (HttpOnly, SameSite=Strict) and with this login. A phone
that is known shows so by its own cookie (HttpOnly, SameSite=Lax, since the camera comes from outside the site), which
confirms logins and is good for nothing else. Nothing here redirects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen
from chat_common.errors import ChatError, Conflict, NotAuthenticated, NotPermitted, RateLimited
from chat_common.ports.identity import Attempt, Waiting
from chat_common.records import Caller
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from chat_server.auth.frame import CSRF_COOKIE, Frame, language_of, read_form
from chat_server.auth.issue import TooManyLogins
from chat_server.auth.passwords import PASSWORD_MAX, PASSWORD_MIN, PasswordCredentials, PasswordIdentity
from chat_server.auth.phones import Phones
from chat_server.auth.register import Joining, Registration
from chat_server.auth.templates import STYLE, Confirmation, confirmation, notice
from chat_server.auth.tickets import TicketLogins
from chat_server.auth.translations import texts
from chat_server.names import BadName

PHONE_COOKIE = "chat_phone"


@frozen
class PageNeighbours:
    """What the pages ask. ``passwords`` is None where that provider is not offered."""

    logins: TicketLogins
    registration: Registration
    passwords: PasswordIdentity | None
    phones: Phones


@frozen
class PageSettings:
    """``remember_for``: of a phone, in seconds."""

    registration: str
    remember_for: int


class LoginPages:
    """``GET`` and ``POST /login/CODE``."""

    def __init__(self, neighbours: PageNeighbours, settings: PageSettings, frame: Frame) -> None:
        self._logins, self._registration = neighbours.logins, neighbours.registration
        self._passwords, self._phones = neighbours.passwords, neighbours.phones
        self._settings, self._frame = settings, frame

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
        waiting = await self._logins.waiting_for(code, "qr")
        if waiting is None:
            return self._frame.gone(request)
        if request.method == "GET":
            await self._logins.scanned(code)
        return await self._ask(request, waiting)

    async def press(self, request: Request) -> Response:
        """Yes, no, or somebody else."""
        code: str = request.path_params["code"]
        waiting = await self._logins.waiting_for(code, "qr")
        if waiting is None:
            return self._frame.gone(request)
        t = texts(language_of(request))
        if self._frame.is_foreign(request):
            return await self._ask(request, waiting, t["foreign"], status=403)
        form = await read_form(request)
        if form is None:
            return await self._ask(request, waiting, t["form"], status=400)
        if not self._frame.csrf_good(request, code, form.get("csrf", "")):
            return await self._ask(request, waiting, t["stale"], status=403)
        action = form.get("action", "")
        if action == "refuse":
            await self._logins.refuse(code)
            return self._frame.page(request, t["refused"], notice(t["refused.text"]))
        if action == "forget":
            await self._phones.forget(self._frame.cookie(request, PHONE_COOKIE))
            answer = await self._ask(request, waiting, stranger=True)
            self._frame.set(request, answer, PHONE_COOKIE, "", "lax", 0)
            return answer
        try:
            user = await self._who(request, action, form)
            if user is None:
                return await self._ask(request, waiting, t["stale"], status=403)
            # Before the decision: what fails here must not leave a screen that is logged in by nobody's phone.
            phone = None if action == "confirm" else await self._phones.remember(user, _address(request))
            if not await self._logins.succeed_as(code, user):
                return self._frame.gone(request)
        except _FieldError as problem:
            return await self._ask(request, waiting, t[problem.word], status=400, name=form.get("name", ""))
        except ChatError as error:
            said = _said(t, action, error)
            return await self._ask(request, waiting, said, status=error.status, name=form.get("name", ""))
        done = self._frame.page(request, t["done"], notice(t["done.text"]))
        if phone is not None:
            self._frame.set(request, done, PHONE_COOKIE, phone, "lax", self._settings.remember_for)
        return done

    async def _who(self, request: Request, action: str, form: Mapping[str, str]) -> str | None:
        """The person who presses, proven; None where the cookie says nothing any more."""
        address = _address(request)
        if action == "confirm":
            known = await self._phones.remembered(self._frame.cookie(request, PHONE_COOKIE))
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
            who = Joining(name=name, password=password or None, invite=form.get("invite"))
            return await self._registration.join(Caller(None, "", address=address, command="auth.register"), who)
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
        t = texts(language_of(request))
        cookie = self._frame.csrf_cookie(request)
        known = None if stranger else await self._phones.remembered(self._frame.cookie(request, PHONE_COOKIE))
        shown = Confirmation(
            waiting,
            age=self._logins.age(waiting),
            host=request.headers.get("host", ""),
            csrf=self._frame.csrf(cookie, waiting.code),
            known=None if known is None else known.name,
            registration=self._settings.registration,
            password=self._passwords is not None,
            error=error,
            name=name,
        )
        answer = self._frame.page(request, t["title"], confirmation(t, shown), status)
        self._frame.set(request, answer, CSRF_COOKIE, cookie, "strict", None)
        return answer


class _FieldError(Exception):
    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def _said(t: Mapping[str, str], action: str, error: ChatError) -> str:
    if error.reason == "interceptor":  # A plugin's own sentence: we do not know what it is about.
        return error.message
    if isinstance(error, BadName):
        return t.get(f"name.{error.reason}", t["name.bad"])
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


def _address(request: Request) -> str | None:
    return request.client.host if request.client else None
