"""A stand-in for QQ Connect that speaks the documented shapes: both forms of each answer, and its faults."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from attrs import define, field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.chat_server.transports.serving import serving

APPID, APPKEY = "101234567", "an app key"
OPENID = "0123456789ABCDEF0123456789ABCDEF"


@define
class Qq:
    """``shape``: ``json``, or ``old`` for form text and callbacks whatever was asked. ``me``/``person``: what is said
    beyond the usual. ``errors``: call → the text to answer instead."""

    url: str = ""
    shape: str = "json"
    openid: str = OPENID
    me: dict[str, Any] = field(factory=dict)
    person: dict[str, Any] = field(factory=dict)
    errors: dict[str, str] = field(factory=dict)
    codes: dict[str, str] = field(factory=dict)
    tokens: set[str] = field(factory=set)
    calls: list[str] = field(factory=list)
    unionid: str | None = None

    def routes(self) -> list[Route]:
        calls = {
            "/oauth2.0/authorize": self._authorize,
            "/oauth2.0/token": self._token,
            "/oauth2.0/me": self._me,
            "/user/get_user_info": self._info,
        }
        return [Route(path, self._watched(path, call), methods=["GET"]) for path, call in calls.items()]

    def _watched(self, path: str, call: Any) -> Any:
        async def handler(request: Request) -> Response:
            self.calls.append(path)
            if path in self.errors:
                return HTMLResponse(self.errors[path])
            return call(dict(request.query_params))  # type: ignore[no-any-return]

        return handler

    def _say(self, found: dict[str, Any], *, as_form: bool = False) -> Response:
        if self.shape == "json":
            return PlainTextResponse(json.dumps(found))
        if as_form and "error" not in found:
            return HTMLResponse(urlencode(found))
        return HTMLResponse(f"callback( {json.dumps(found)} );\n")

    def _authorize(self, asked: dict[str, str]) -> Response:
        assert asked["client_id"] == APPID
        assert asked["response_type"] == "code"
        code = secrets.token_hex(16).upper()
        self.codes[code] = asked["redirect_uri"]
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 302)

    def _token(self, asked: dict[str, str]) -> Response:
        if asked["client_id"] != APPID:
            return self._say({"error": 100008, "error_description": "client_id is invalid"})
        if asked["client_secret"] != APPKEY:
            return self._say({"error": 100009, "error_description": "client_secret is invalid"})
        if self.codes.pop(asked["code"], None) != asked["redirect_uri"]:
            return self._say({"error": 100020, "error_description": "code is reused error"})
        token = secrets.token_hex(16).upper()
        self.tokens.add(token)
        made = {"access_token": token, "expires_in": "7776000", "refresh_token": secrets.token_hex(16)}
        return self._say(made | ({"openid": self.openid} if self.shape == "json" else {}), as_form=True)

    def _me(self, asked: dict[str, str]) -> Response:
        if asked["access_token"] not in self.tokens:
            return self._say({"error": 100016, "error_description": "access token check failed"})
        union = {"unionid": self.unionid} if self.unionid and asked.get("unionid") == "1" else {}
        return self._say({"client_id": APPID, "openid": self.openid, **union, **self.me})

    def _info(self, asked: dict[str, str]) -> Response:
        assert asked["oauth_consumer_key"] == APPID
        assert asked["access_token"] in self.tokens
        assert asked["openid"] == self.openid
        found = {
            "ret": 0, "msg": "", "is_lost": 0, "nickname": "小明", "gender": "男",
            "figureurl_qq_1": "http://thirdqq.example/40", "figureurl_qq_2": "",
        }  # fmt: skip
        return PlainTextResponse(json.dumps({**found, **self.person}, ensure_ascii=False))


@asynccontextmanager
async def qq() -> AsyncIterator[Qq]:
    made = Qq()
    async with serving(Starlette(routes=made.routes()), access_log=False) as (_, port):
        made.url = f"http://127.0.0.1:{port}"
        yield made
