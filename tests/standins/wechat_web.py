"""A stand-in for WeChat's website applications that speaks the documented shapes, and its faults."""

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

APPID, SECRET = "wx0123456789abcdef", "0123456789abcdef0123456789abcdef"


@define
class WechatWeb:
    """``token``/``person``: what is said beyond the usual. ``errors``: call → error codes, one each time, or a text."""

    url: str = ""
    openid: str = "oAbc-123_x"
    unionid: str | None = None
    token: dict[str, Any] = field(factory=dict)
    person: dict[str, Any] = field(factory=dict)
    errors: dict[str, list[int | str]] = field(factory=dict)
    codes: set[str] = field(factory=set)
    used: set[str] = field(factory=set)
    tokens: set[str] = field(factory=set)
    calls: list[str] = field(factory=list)

    def routes(self) -> list[Route]:
        calls = {
            "/connect/qrconnect": self._connect,
            "/sns/oauth2/access_token": self._token,
            "/sns/userinfo": self._person,
        }
        return [Route(path, self._watched(path, call), methods=["GET"]) for path, call in calls.items()]

    def _watched(self, path: str, call: Any) -> Any:
        async def handler(request: Request) -> Response:
            self.calls.append(path)
            if self.errors.get(path):
                error = self.errors[path].pop(0)
                return HTMLResponse(error) if isinstance(error, str) else self._error(error)
            return call(dict(request.query_params))  # type: ignore[no-any-return]

        return handler

    @staticmethod
    def _say(found: dict[str, Any]) -> Response:
        # As WeChat does: text that names no charset.
        return Response(json.dumps(found, ensure_ascii=False).encode(), 200, {"content-type": "text/plain"})

    def _error(self, code: int) -> Response:
        return PlainTextResponse(json.dumps({"errcode": code, "errmsg": "no, rid: 1-2-3"}))

    def _connect(self, asked: dict[str, str]) -> Response:
        assert list(asked) == ["appid", "redirect_uri", "response_type", "scope", "state"]
        assert asked["appid"] == APPID
        assert asked["scope"] == "snsapi_login"
        assert asked["state"].isalnum()
        assert len(asked["state"]) <= 128
        code = secrets.token_hex(16)
        self.codes.add(code)
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 302)

    def _token(self, asked: dict[str, str]) -> Response:
        if asked["appid"] != APPID:
            return self._error(40013)
        if asked["secret"] != SECRET:
            return self._error(40125)
        if asked["code"] in self.used:
            return self._error(40163)
        if asked["code"] not in self.codes:
            return self._error(40029)
        self.used.add(asked["code"])
        token = secrets.token_urlsafe(64)
        self.tokens.add(token)
        union = {"unionid": self.unionid} if self.unionid else {}
        return self._say(
            {
                "access_token": token, "expires_in": 7200, "refresh_token": "r", "openid": self.openid,
                "scope": "snsapi_login", **union, **self.token,
            }
        )  # fmt: skip

    def _person(self, asked: dict[str, str]) -> Response:
        if asked["access_token"] not in self.tokens:
            return self._error(40001)
        union = {"unionid": self.unionid} if self.unionid else {}
        return self._say(
            {
                "openid": self.openid, "nickname": "小明 😀", "sex": 0, "province": "", "city": "", "country": "",
                "headimgurl": "", "privilege": [], **union, **self.person,
            }
        )  # fmt: skip


@asynccontextmanager
async def wechat_web() -> AsyncIterator[WechatWeb]:
    made = WechatWeb()
    async with serving(Starlette(routes=made.routes()), access_log=False) as (_, port):
        made.url = f"http://127.0.0.1:{port}"
        yield made
