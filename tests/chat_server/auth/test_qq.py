"""Logging in with a QQ account, end to end against the stand-in, in both shapes of its answers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest
from chat_common.errors import Unavailable
from chat_server.auth.qq import read_answer
from chat_server.store.account_schema import identity
from sqlalchemy import select

from tests.chat_server.auth.screens import Site, press, site
from tests.standins.qq import APPID, APPKEY, OPENID, Qq, qq
from tests.support.logged import listen, logged


@asynccontextmanager
async def stage(folder: Path, **settings: Any) -> AsyncIterator[tuple[Site, Qq]]:
    async with qq() as made:
        chosen = {"appid": APPID, "appkey": APPKEY, "base_url": made.url, **settings}
        merged = {"ports": {"identity_provider": ["qq"]}, "identity_provider": {"qq": chosen}}
        async with site(folder, settings=merged) as here:
            yield here, made


async def log_in(here: Site, made: Qq) -> tuple[httpx2.Response, dict[str, Any]]:
    begun = (await here.call("auth.begin", provider="qq")).json()
    browser = here.browser()
    going = await press(browser, begun["url"], "go")
    target = unescape(re.search(r'<a href="([^"]+)"', going.text)[1])  # type: ignore[index]
    async with httpx2.AsyncClient() as outside:
        back = (await outside.get(target)).headers["location"]
    return await browser.get(back), await here.state(begun["ticket"])


@pytest.mark.parametrize("shape", ["json", "old"])
async def test_somebody_logs_in_and_is_the_same_the_next_time(tmp_path: Path, shape: str) -> None:
    async with stage(tmp_path) as (here, made):
        made.shape = shape
        page, state = await log_in(here, made)
        assert page.status_code == 200
        assert state["user"]["name"] == "小明"
        assert (await log_in(here, made))[1]["user"] == state["user"]
        rows = await here.server.database.read(lambda connection: connection.execute(select(identity)).all())
        assert [(row.provider, row.subject) for row in rows] == [("qq", f"{APPID}:{OPENID}")]


async def test_the_shared_id_leads_to_the_same_person(tmp_path: Path) -> None:
    async with stage(tmp_path, unionid=True) as (here, made):
        made.unionid = "UID_1"
        first = (await log_in(here, made))[1]["user"]
        made.openid = OPENID[::-1]
        assert (await log_in(here, made))[1]["user"] == first


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (lambda made: made.me.update(client_id="another"), 401),
        (lambda made: made.me.update(openid="another"), 401),
        (lambda made: made.me.update(openid=""), 401),
        (lambda made: made.person.update(ret=-1), 401),
        (lambda made: made.errors.update({"/oauth2.0/token": 'callback( {"error":100020,} );'}), 401),
        (lambda made: made.errors.update({"/oauth2.0/token": '{"error":100010}'}), 503),
        (lambda made: made.errors.update({"/oauth2.0/me": "<html>busy</html>"}), 503),
        (lambda made: made.errors.update({"/oauth2.0/me": ""}), 503),
    ],
)  # fmt: skip
async def test_what_proves_nobody_leaves_no_ticket(tmp_path: Path, fault: Any, status: int) -> None:
    async with stage(tmp_path) as (here, made):
        fault(made)
        page, state = await log_in(here, made)
        assert (page.status_code, state) == (status, {"state": "refused"})
        assert made.calls.count("/oauth2.0/token") == 1


async def test_a_wrong_key_is_the_operators_matter(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with stage(tmp_path, appkey="wrong") as (here, made):
        page, _ = await log_in(here, made)
        assert page.status_code == 503
    assert "qq_configuration" in logged(caplog)


async def test_no_secret_stands_in_any_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listen(caplog)
    async with stage(tmp_path) as (here, made):
        await log_in(here, made)
        made.errors["/oauth2.0/me"] = "<html>"
        await log_in(here, made)
        kept = {APPKEY, *made.tokens}
    said = logged(caplog)
    assert "login_redirect_failed" in said
    for secret in kept:
        assert secret not in said
        assert secret.replace(" ", "+") not in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": "b"}', ({"a": "b"}, None)),
        (' callback( {"a": "b"} );\n', ({"a": "b"}, None)),
        ("access_token=X&expires_in=7776000", ({"access_token": "X", "expires_in": "7776000"}, None)),
        ('callback( {"error":100016,"more":"(no)"} );', ({"error": 100016, "more": "(no)"}, 100016)),
        ('callback( {"error":100020,"error_description":"x",} );', ({}, 100020)),
        ('{"error": "odd"}', ({"error": "odd"}, 0)),
    ],
)  # fmt: skip
def test_every_shape_is_read(text: str, expected: Any) -> None:
    assert read_answer(text) == expected


@pytest.mark.parametrize("text", ["", "callback(", "[]", "7", "<html a=b>", "callback( null );", "\ud800"])
def test_what_is_no_answer_is_none(text: str) -> None:
    with pytest.raises(Unavailable):
        read_answer(text)
