"""Logging in with WeChat's website application, end to end against the stand-in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest
from chat_server.auth import wechat_web as module
from chat_server.store.account_schema import identity
from sqlalchemy import select

from tests.chat_server.auth.screens import Site, press, site
from tests.standins.wechat_web import APPID, SECRET, WechatWeb, wechat_web
from tests.support.logged import listen, logged

TOKEN, PERSON = "/sns/oauth2/access_token", "/sns/userinfo"


@asynccontextmanager
async def stage(folder: Path, **settings: Any) -> AsyncIterator[tuple[Site, WechatWeb]]:
    async with wechat_web() as made:
        chosen = {"appid": APPID, "secret": SECRET, "api_url": made.url, "open_url": made.url, **settings}
        merged = {"ports": {"identity_provider": ["wechat_web"]}, "identity_provider": {"wechat_web": chosen}}
        async with site(folder, settings=merged) as here:
            yield here, made


async def log_in(here: Site) -> tuple[httpx2.Response, dict[str, Any]]:
    begun = (await here.call("auth.begin", provider="wechat_web")).json()
    browser = here.browser()
    going = await press(browser, begun["url"], "go")
    target = unescape(re.search(r'<a href="([^"]+)"', going.text)[1])  # type: ignore[index]
    assert target.endswith("#wechat_redirect")
    async with httpx2.AsyncClient() as outside:
        back = (await outside.get(target)).headers["location"]
    return await browser.get(back), await here.state(begun["ticket"])


async def test_somebody_logs_in_and_is_the_same_in_every_application_of_one_owner(tmp_path: Path) -> None:
    async with stage(tmp_path) as (here, made):
        made.unionid = "o6_union"
        page, state = await log_in(here)
        assert page.status_code == 200
        assert state["user"]["name"] == "小明 😀", "read as UTF-8, though no charset is named"
        made.openid = "another"
        assert (await log_in(here))[1]["user"] == state["user"]
        rows = await here.server.database.read(lambda connection: connection.execute(select(identity)).all())
        assert {(row.provider, row.subject) for row in rows} == {
            ("wechat_web", f"{APPID}:oAbc-123_x"),
            ("wechat_web", f"{APPID}:another"),
            ("wechat_union", "o6_union"),
        }


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (lambda made: made.errors.update({TOKEN: [40029]}), 401),
        (lambda made: made.errors.update({TOKEN: [40163]}), 401),
        (lambda made: made.errors.update({TOKEN: [40164]}), 503),
        (lambda made: made.errors.update({TOKEN: [45011]}), 429),
        (lambda made: made.errors.update({TOKEN: [-1, -1]}), 503),
        (lambda made: made.errors.update({TOKEN: ["<html>busy</html>"]}), 503),
        (lambda made: made.errors.update({PERSON: [48001]}), 503),
        (lambda made: made.errors.update({PERSON: ["[]"]}), 503),
        (lambda made: made.token.update(is_snapshotuser=1), 401),
        (lambda made: made.token.update(openid=""), 401),
        (lambda made: made.person.update(openid="another"), 401),
    ],
)
async def test_what_proves_nobody_leaves_no_ticket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any, status: int
) -> None:
    monkeypatch.setattr(module, "AGAIN_AFTER", 0.0)
    async with stage(tmp_path) as (here, made):
        fault(made)
        page, state = await log_in(here)
        assert (page.status_code, state) == (status, {"state": "refused"})


async def test_a_busy_platform_is_asked_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_AFTER", 0.0)
    async with stage(tmp_path) as (here, made):
        made.errors[TOKEN] = [-1]
        assert (await log_in(here))[1]["state"] == "succeeded"
        assert made.calls.count(TOKEN) == 2


async def test_no_secret_stands_in_any_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listen(caplog)
    async with stage(tmp_path) as (here, made):
        made.errors[PERSON] = ["<html>"]
        await log_in(here)
        made.errors[TOKEN] = [40125]
        await log_in(here)
        kept = {SECRET, *made.tokens, *made.codes}
    said = logged(caplog)
    assert "wechat_configuration" in said
    for secret in kept:
        assert secret not in said
