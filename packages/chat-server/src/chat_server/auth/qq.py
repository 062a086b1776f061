"""QQ Connect: logging in with a QQ account, in the shapes of its documentation. Trust rests on TLS and our secret.

There is no PKCE, no nonce and no ID token, and answers come as JSON, as form text or as ``callback( {…} );``.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlencode

import msgspec
import structlog
from attrs import define
from chat_common.errors import NotAuthenticated, Unavailable
from chat_common.ports.identity import IdentityProvider, Link, Proof, Waiting
from chat_common.records import Backend, Context
from chat_common.settings import setting

from chat_server.auth.public_address import PublicAddress
from chat_server.auth.redirects import Transaction, redirect_link
from chat_server.auth.sites import Site

log = structlog.get_logger("chat.auth")
CONFIGURATION = range(100_008, 100_012)
"""Codes that say that the application's id, key or address to come back to is wrong, or that it is not on line."""
_ERROR = re.compile(r'"error"\s*:\s*(\d{1,9})')


@define(kw_only=True)
class QqSettings:
    appid: str = setting(help="The application's id at connect.qq.com.")
    appkey: str = setting(help="Its key.", secret=True)
    base_url: str = setting("https://graph.qq.com", help="Where QQ Connect is.")
    unionid: bool = setting(
        False, help="Ask for the id that all applications of one owner share; the right to it is applied for at QQ."
    )


class QqIdentity:
    """`chat_server.auth.redirects.RedirectIdentity`. The subject is ``APPID:OPENID``: each application has its own."""

    name, title = "qq", "QQ"

    def __init__(self, settings: QqSettings, address: PublicAddress, site: Site) -> None:
        self._settings, self._address, self._site = settings, address, site
        self._base = settings.base_url.rstrip("/")

    async def begin(self, waiting: Waiting) -> Link:
        """See `TicketIdentity.begin`."""
        return redirect_link(self._address, self.name, waiting)

    async def authorize(self, transaction: Transaction) -> str:
        """See `RedirectIdentity.authorize`."""
        query = {
            "response_type": "code",
            "client_id": self._settings.appid,
            "redirect_uri": transaction.redirect_uri,
            "state": transaction.state,
            "scope": "get_user_info",
        }
        return f"{self._base}/oauth2.0/authorize?{urlencode(query)}"

    async def finish(self, query: Mapping[str, str], transaction: Transaction) -> Proof:
        """See `RedirectIdentity.finish`."""
        if not query.get("code"):
            raise NotAuthenticated("The answer has no code.")
        chosen = self._settings
        token = await self._ask(
            "/oauth2.0/token",
            {
                "grant_type": "authorization_code",
                "client_id": chosen.appid,
                "client_secret": chosen.appkey,
                "code": query["code"],
                "redirect_uri": transaction.redirect_uri,
                "fmt": "json",
                "need_openid": "1",
            },
        )
        access = _text(token, "access_token", 512)
        union = {"unionid": "1"} if chosen.unionid else {}
        me = await self._ask("/oauth2.0/me", {"access_token": access, "fmt": "json", **union})
        # A token that was given to another site must not log anybody in here.
        if str(me.get("client_id")) != chosen.appid:
            raise NotAuthenticated("The token was given to another application.")
        openid = _text(me, "openid", 128)
        if "openid" in token and token["openid"] != openid:
            raise NotAuthenticated("The token is of somebody else.")
        person = await self._ask(
            "/user/get_user_info", {"access_token": access, "oauth_consumer_key": chosen.appid, "openid": openid}
        )
        if person.get("ret") != 0:
            self._refused("/user/get_user_info", person.get("ret"))
        nickname = person.get("nickname")
        name = " ".join(nickname.split())[:64] if isinstance(nickname, str) else ""
        aliases = (("qq_union", _text(me, "unionid", 128)),) if chosen.unionid and me.get("unionid") else ()
        return Proof("qq", f"{chosen.appid}:{openid}", name or "QQ", _avatar(person), aliases)

    async def _ask(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        text = await self._site.text(f"{self._base}{path}", query)
        found, code = read_answer(text)
        if code is not None:
            self._refused(path, code)
        return found

    def _refused(self, path: str, code: Any) -> NoReturn:
        if code in CONFIGURATION:
            log.error("qq_configuration", call=path, error=code)
            raise Unavailable("The login site does not know this server.")
        # Never asked again with the same code: it is good once.
        raise NotAuthenticated(f"QQ refuses {path}: {code}.")


def read_answer(text: str) -> tuple[dict[str, Any], int | None]:
    """Return what an answer of QQ says, and its error code: from JSON, bare or in a callback, or from form text."""
    body = text.strip()
    if body.startswith("callback"):
        body = body[body.find("(") + 1 : body.rfind(")")].strip()
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeEncodeError):
        # An error of the documentation itself has a trailing comma.
        broken = _ERROR.search(body)
        if broken is not None:
            return {}, int(broken[1])
        found = dict(parse_qsl(body, max_num_fields=50)) if "=" in body and not body.startswith("<") else None
    if not isinstance(found, dict) or not found:
        raise Unavailable("The login site does not answer. Try again in a minute.", retry_after=60.0)
    code = found.get("error")
    if code is None:
        return found, None
    return found, int(code) if str(code).isdecimal() else 0


def _text(found: Mapping[str, Any], field: str, most: int) -> str:
    given = found.get(field)
    if not isinstance(given, str) or not 1 <= len(given) <= most or not given.isprintable():
        raise NotAuthenticated(f"QQ's answer has no {field}.")
    return given


def _avatar(person: Mapping[str, Any]) -> str | None:
    for field in ("figureurl_qq_2", "figureurl_qq_1"):
        given = person.get(field)
        if isinstance(given, str) and given.startswith(("http://", "https://")):
            return "https://" + given.partition("://")[2]
    return None


@asynccontextmanager
async def _open(context: Context) -> AsyncIterator[IdentityProvider]:
    async with Site.open("qq") as site:
        yield QqIdentity(context.settings, await context.get(PublicAddress), site)


BACKEND = Backend(IdentityProvider, "qq", _open, QqSettings, "Log in with a QQ account, by QQ Connect.")
