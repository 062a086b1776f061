"""WeChat on the web: a 网站应用 of the open platform, whose own page shows a code that the WeChat app scans.

There is no PKCE, no nonce and no ID token: trust rests on TLS, our secret, the state and the cookie.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import msgspec
import structlog
from attrs import define
from chat_common.errors import NotAuthenticated, RateLimited, Unavailable
from chat_common.ports.identity import IdentityProvider, Link, Proof, Waiting
from chat_common.records import Backend, Context
from chat_common.settings import setting

from chat_server.auth.public_address import PublicAddress
from chat_server.auth.redirects import Transaction, redirect_link
from chat_server.auth.sites import AWAY, Site

log = structlog.get_logger("chat.auth")
BUSY = -1
CONFIGURATION = frozenset({40013, 40125, 40164, 41002, 41004, 48001, 48004, 89503})
"""Codes that say that the application's id, secret, address or rights are wrong."""
QUOTA = frozenset({45009, 45011})
AGAIN_AFTER = 0.5


@define(kw_only=True)
class WechatWebSettings:
    appid: str = setting(help="The website application's id at the WeChat open platform.")
    secret: str = setting(help="Its secret.", secret=True)
    api_url: str = setting("https://api.weixin.qq.com", help="Where WeChat answers servers.")
    open_url: str = setting("https://open.weixin.qq.com", help="Where WeChat shows its code to people.")


class WechatWebIdentity:
    """`chat_server.auth.redirects.RedirectIdentity`. The subject is ``APPID:OPENID``, with the UnionID as an alias."""

    name, title = "wechat_web", "WeChat"

    def __init__(self, settings: WechatWebSettings, address: PublicAddress, site: Site) -> None:
        self._settings, self._address, self._site = settings, address, site

    async def begin(self, waiting: Waiting) -> Link:
        """See `TicketIdentity.begin`."""
        return redirect_link(self._address, self.name, waiting)

    async def authorize(self, transaction: Transaction) -> str:
        """See `RedirectIdentity.authorize`. The order of the parameters and the fragment are looked at there."""
        query = {
            "appid": self._settings.appid,
            "redirect_uri": transaction.redirect_uri,
            "response_type": "code",
            "scope": "snsapi_login",
            "state": transaction.state,
        }
        return f"{self._settings.open_url.rstrip('/')}/connect/qrconnect?{urlencode(query)}#wechat_redirect"

    async def finish(self, query: Mapping[str, str], transaction: Transaction) -> Proof:
        """See `RedirectIdentity.finish`."""
        if not query.get("code"):
            raise NotAuthenticated("The answer has no code.")
        chosen = self._settings
        token = await self._ask(
            "/sns/oauth2/access_token",
            {
                "appid": chosen.appid,
                "secret": chosen.secret,
                "code": query["code"],
                "grant_type": "authorization_code",
            },
        )
        if token.get("is_snapshotuser") == 1:
            # Such a page has a made-up person, who must become nobody here.
            raise NotAuthenticated("WeChat shows this page as a snapshot.")
        openid = _text(token, "openid")
        person = await self._ask(
            "/sns/userinfo", {"access_token": _text(token, "access_token"), "openid": openid, "lang": "zh_CN"}
        )
        if person.get("openid") != openid:
            raise NotAuthenticated("WeChat's user information is of somebody else.")
        union = person.get("unionid") or token.get("unionid")
        aliases = (("wechat_union", union),) if isinstance(union, str) and 0 < len(union) <= 128 else ()
        nickname, picture = person.get("nickname"), person.get("headimgurl")
        name = " ".join(nickname.split())[:64] if isinstance(nickname, str) else ""
        avatar = None
        if isinstance(picture, str) and picture.startswith(("http://", "https://")):
            avatar = "https://" + picture.partition("://")[2]
        return Proof(self.name, f"{chosen.appid}:{openid}", name or "WeChat", avatar, aliases)

    async def _ask(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        address = f"{self._settings.api_url.rstrip('/')}{path}"
        for again in (True, False):
            text = await self._site.text(address, query)
            try:
                found = msgspec.json.decode(text)
            except (msgspec.DecodeError, UnicodeEncodeError):
                found = None
            if not isinstance(found, dict):
                raise Unavailable(AWAY, retry_after=60.0)
            code = found.get("errcode", 0)
            if code == 0:
                return found
            if code != BUSY or not again:
                break
            await asyncio.sleep(AGAIN_AFTER)
        if code in CONFIGURATION:
            log.error("wechat_configuration", call=path, errcode=code, errmsg=str(found.get("errmsg"))[:200])
            raise Unavailable("The login site does not know this server.")
        if code in QUOTA:
            raise RateLimited("WeChat lets no more people in for now. Try again in a minute.", retry_after=60.0)
        if code == BUSY:
            raise Unavailable(AWAY, retry_after=60.0)
        # Never asked again with the same code: it is good once.
        raise NotAuthenticated(f"WeChat refuses {path}: {code}.")


def _text(found: Mapping[str, Any], field: str) -> str:
    given = found.get(field)
    if not isinstance(given, str) or not 1 <= len(given) <= 512 or not given.isprintable():
        raise NotAuthenticated(f"WeChat's answer has no {field}.")
    return given


@asynccontextmanager
async def _open(context: Context) -> AsyncIterator[IdentityProvider]:
    async with Site.open("wechat_web") as site:
        yield WechatWebIdentity(context.settings, await context.get(PublicAddress), site)


BACKEND = Backend(
    IdentityProvider, "wechat_web", _open, WechatWebSettings, "Log in with WeChat, by a website application."
)
