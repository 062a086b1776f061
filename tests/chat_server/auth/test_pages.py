"""A login by ticket from both sides: a screen over WebSocket or HTTP, a phone with cookies over HTTP."""

from __future__ import annotations

import asyncio
import base64
import re
from pathlib import Path
from typing import Any

import pytest
from chat_common.clock import ManualClock
from chat_common.protocol.frames import Error, Push
from chat_server.services import CloseSessions
from chat_server.store.account_schema import login as logins
from sqlalchemy import select

from tests.chat_server.auth.screens import CSRF, press, site
from tests.support.raw import RawClient, raw


async def login(guest: RawClient) -> dict[str, Any]:
    return (await guest.next(Push, lambda frame: frame.event == "login")).data  # type: ignore[no-any-return]


async def test_a_screen_is_logged_in_by_a_phone_and_knows_each_step(tmp_path: Path) -> None:
    async with site(tmp_path) as here, raw(here.url) as guest, raw(here.url) as screen:
        await guest.hello(None, "tv")
        begun = await guest.call("auth.begin", {"provider": "qr", "device": {"id": "tv", "name": "Kitchen"}})
        picture = begun["picture"].removeprefix("data:image/svg+xml;base64,")
        assert base64.b64decode(picture).startswith(b"<svg ")
        assert begun["expires_in"] == 120
        phone = here.browser()
        shown = await phone.get(begun["url"])
        assert "Kitchen" in shown.text
        assert "127.0.0.1" in shown.text
        assert "0 seconds ago" in shown.text
        assert await login(guest) == {"ticket": begun["ticket"], "state": "scanned"}
        done = await press(phone, begun["url"], "create", name="Ada")
        assert "Logged in" in done.text
        pushed = await login(guest)
        assert (pushed["ticket"], pushed["state"], pushed["user"]["name"]) == (begun["ticket"], "succeeded", "Ada")
        welcome = await screen.hello(pushed["token"], "tv")
        assert welcome.user.name == "Ada"  # type: ignore[union-attr]


async def test_a_phone_that_is_known_confirms_as_that_person_or_as_another(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        phone = here.browser()
        begun = await here.begin()
        await press(phone, begun["url"], "create", name="Ada")
        first = await here.state(begun["ticket"])
        begun = await here.begin()
        assert "Log in as Ada" in (await phone.get(begun["url"])).text
        await press(phone, begun["url"], "confirm")
        second = await here.state(begun["ticket"])
        assert second["user"] == first["user"]
        assert second["token"] != first["token"]
        begun = await here.begin()
        kept = phone.cookies["chat_phone"]
        other = await press(phone, begun["url"], "forget")
        assert "Log in as Ada" not in other.text
        assert "chat_phone" not in phone.cookies
        phone.cookies.set("chat_phone", kept)  # what was forgotten is over, not only deleted
        assert "Log in as Ada" not in (await phone.get(begun["url"])).text


async def test_a_phones_cookie_is_no_token(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        phone = here.browser()
        begun = await here.begin()
        await press(phone, begun["url"], "create", name="Ada")
        made = (await here.state(begun["ticket"]))["token"]
        assert (await here.call("user.me", made)).status_code == 200
        assert (await here.call("user.me", phone.cookies["chat_phone"])).status_code == 401
        stranger = here.browser()
        stranger.cookies.set("chat_phone", made)
        assert "Log in as" not in (await stranger.get((await here.begin())["url"])).text


async def test_a_ticket_is_good_once(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        begun = await here.begin()
        one, two = here.browser(), here.browser()
        pages = [await browser.get(begun["url"]) for browser in (one, two)]
        tokens = [CSRF.search(page.text)[1] for page in pages]  # type: ignore[index]
        fields = {"action": "create", "name": "Ada"}
        assert (await one.post(begun["url"], data={**fields, "csrf": tokens[0]})).status_code == 200
        assert (await two.post(begun["url"], data={**fields, "csrf": tokens[1]})).status_code == 404
        assert (await here.state(begun["ticket"]))["state"] == "succeeded"
        assert await here.state(begun["ticket"]) == {"state": "expired"}
        assert (await one.get(begun["url"])).status_code == 404


async def test_the_link_alone_collects_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as here, raw(here.url) as guest, raw(here.url) as thief:
        begun = await here.begin()
        code = begun["url"].rpartition("/")[2]
        assert begun["ticket"] not in begun["url"]
        assert len(code) >= 22  # 6 bits each: 132
        assert len(begun["ticket"]) >= 22
        await press(here.browser(), begun["url"], "create", name="Ada")
        assert await here.state(code) == {"state": "expired"}
        assert await here.state("wrong-ticket") == {"state": "expired"}
        await guest.hello(None, "tv")
        await thief.hello(None, "tv")
        mine = await guest.call("auth.begin", {"provider": "qr"})
        assert await thief.call("auth.poll", {"ticket": mine["ticket"]}) == {"state": "expired"}
        assert await here.state(mine["ticket"]) == {"state": "expired"}
        assert await guest.call("auth.poll", {"ticket": mine["ticket"]}) == {"state": "waiting"}


async def test_it_runs_out_and_the_screen_is_told(tmp_path: Path) -> None:
    clock = ManualClock()
    async with site(tmp_path, clock=clock) as here, raw(here.url) as guest:
        await guest.hello(None, "tv")
        pushed = await guest.call("auth.begin", {"provider": "qr"})
        polled = await here.begin()
        phone = here.browser()
        page = await phone.get(pushed["url"])
        clock.advance(120)
        await here.server.rooms.auth.logins.expire()
        states = [(await login(guest))["state"] for _ in range(2)]
        assert states == ["scanned", "expired"]
        csrf = CSRF.search(page.text)[1]  # type: ignore[index]
        late = await phone.post(pushed["url"], data={"csrf": csrf, "action": "create", "name": "Ada"})
        assert late.status_code == 404
        assert await here.state(polled["ticket"]) == {"state": "expired"}
        assert (await phone.get(polled["url"])).status_code == 404


async def test_a_refusal_reaches_the_screen(tmp_path: Path) -> None:
    async with site(tmp_path) as here, raw(here.url) as guest:
        await guest.hello(None, "tv")
        begun = await guest.call("auth.begin", {"provider": "qr"})
        phone = here.browser()
        assert "Refused" in (await press(phone, begun["url"], "refuse")).text
        assert [(await login(guest))["state"] for _ in range(2)] == ["scanned", "refused"]
        assert (await phone.get(begun["url"])).status_code == 404


async def test_when_the_screen_has_gone_nobody_is_logged_in(tmp_path: Path) -> None:
    async with site(tmp_path) as here, raw(here.url) as guest:
        session = (await guest.hello(None, "tv")).session
        begun = await guest.call("auth.begin", {"provider": "qr"})
        await here.server.gateway.close(CloseSessions(4100, "gone", "sync", session=session))
        assert (await press(here.browser(), begun["url"], "create", name="Ada")).status_code == 404
        live = await here.server.database.read(
            lambda connection: connection.execute(select(logins.c.ended_at)).scalars().all()
        )
        # The phone's own, and the one that nobody was there to take.
        assert sorted(at is None for at in live) == [False, True]


@pytest.mark.parametrize("wrong", ["", "0" * 64, "é"])
async def test_a_press_needs_its_csrf_token(tmp_path: Path, wrong: str) -> None:
    async with site(tmp_path) as here:
        begun = await here.begin()
        phone = here.browser()
        await phone.get(begun["url"])
        fields = {"action": "create", "name": "Ada"}
        assert (await phone.post(begun["url"], data={**fields, "csrf": wrong})).status_code == 403
        assert (await phone.post(begun["url"], data=fields)).status_code == 403
        assert await here.state(begun["ticket"]) == {"state": "scanned"}


async def test_a_csrf_token_belongs_to_its_cookie_and_its_login(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        first, second = await here.begin(), await here.begin()
        phone, attacker = here.browser(), here.browser()
        csrf = CSRF.search((await phone.get(first["url"])).text)[1]  # type: ignore[index]
        theirs = CSRF.search((await attacker.get(second["url"])).text)[1]  # type: ignore[index]
        for url, given in ((second["url"], csrf), (second["url"], theirs), (first["url"], theirs)):
            answer = await phone.post(url, data={"csrf": given, "action": "create", "name": "Ada"})
            assert answer.status_code == 403
        phone.cookies.clear()
        data = {"csrf": csrf, "action": "create", "name": "Ada"}
        assert (await phone.post(first["url"], data=data)).status_code == 403
        assert (await here.state(first["ticket"]))["state"] == "scanned"
        assert (await here.state(second["ticket"]))["state"] == "scanned"


async def test_pages_keep_to_themselves(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        begun = await here.begin()
        phone = here.browser()
        pages = [
            await phone.get(begun["url"]),
            await phone.get("/login/" + "x" * 22),
            await press(phone, begun["url"], "create", name="Ada"),
        ]
        for page in pages:
            assert page.headers["content-security-policy"] == (
                "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
            )
            assert page.headers["cache-control"] == "no-store"
            assert page.headers["referrer-policy"] == "same-origin"
            assert "location" not in page.headers
            assert not re.search(r"<script|style=|<style|\son\w+=", page.text)
            assert begun["ticket"] not in page.text
        for cookie in pages[0].headers.get_list("set-cookie"):
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
        kept = next(it for it in pages[2].headers.get_list("set-cookie") if it.startswith("chat_phone="))
        assert "HttpOnly" in kept
        assert "SameSite=lax" in kept
        assert "Path=/login" in kept
        style = await phone.get("/login/style.css")
        assert style.headers["content-type"].startswith("text/css")
        assert (await phone.get(begun["url"] + "?next=https://evil.example")).status_code == 404


async def test_names_are_text_wherever_they_stand(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&"
    async with site(tmp_path) as here:
        begun = await here.begin(device={"id": "d", "name": evil})
        phone = here.browser()
        shown = await phone.get(begun["url"])
        assert "<script" not in shown.text
        assert "&lt;script&gt;" in shown.text
        short = await press(phone, begun["url"], "create", name=evil, password="short")
        assert short.status_code == 400
        assert "8 to 256" in short.text
        assert "<script" not in short.text
        await press(phone, begun["url"], "create", name=evil)
        known = await phone.get((await here.begin())["url"])
        assert "<script" not in known.text
        assert "Log in as &lt;script&gt;" in known.text


async def test_a_page_speaks_chinese_to_those_who_read_it(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        begun = await here.begin()
        page = await here.browser("zh-CN,zh;q=0.9,en;q=0.8").get(begun["url"])
        assert '<html lang="zh">' in page.text
        assert "在另一屏幕上登录" in page.text
        assert '<html lang="en">' in (await here.browser("fr, en;q=0.5").get(begun["url"])).text


async def test_a_password_is_the_second_way_in(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        me = (await here.call("auth.register", name="Ada", password="correct horse")).json()["user"]
        begun = await here.begin()
        phone = here.browser()
        wrong = await press(phone, begun["url"], "password", name="ada", password="wrong horse")
        assert wrong.status_code == 401
        assert "Name or password is wrong" in wrong.text
        assert "wrong horse" not in wrong.text
        await press(phone, begun["url"], "password", name="ADA", password="correct horse")
        assert (await here.state(begun["ticket"]))["user"] == me
        assert "Log in as Ada" in (await phone.get((await here.begin())["url"])).text


async def test_who_may_join_is_the_servers_policy(tmp_path: Path) -> None:
    closed = {"auth": {"registration": "closed"}}
    async with site(tmp_path / "closed", settings=closed) as here:
        begun = await here.begin()
        phone = here.browser()
        page = await phone.get(begun["url"])
        assert 'value="create"' not in page.text
        assert "New accounts cannot be made here" in page.text
        assert (await press(phone, begun["url"], "create", name="Ada")).status_code == 403
        assert (await here.state(begun["ticket"]))["state"] == "scanned"
    invited = {"auth": {"registration": "invite", "invite": ["open sesame"]}}
    async with site(tmp_path / "invite", settings=invited) as here:
        begun = await here.begin()
        phone = here.browser()
        for code in ("", "wrong"):
            answer = await press(phone, begun["url"], "create", name="Ada", invite=code)
            assert answer.status_code == 403
            assert "invite code is not good" in answer.text
        await press(phone, begun["url"], "create", name="Ada", invite="open sesame")
        assert (await here.state(begun["ticket"]))["user"]["name"] == "Ada"


async def test_a_banned_person_confirms_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        phone = here.browser()
        begun = await here.begin()
        await press(phone, begun["url"], "create", name="Ada", password="correct horse")
        user = (await here.state(begun["ticket"]))["user"]["user"]
        await here.server.rooms.auth.ban(user)
        begun = await here.begin()
        assert "Log in as Ada" not in (await phone.get(begun["url"])).text
        await press(phone, begun["url"], "password", name="Ada", password="correct horse")
        assert (await here.state(begun["ticket"])).get("token") is None
        assert (await here.call("auth.password", name="Ada", password="correct horse")).status_code == 403
        await here.server.rooms.auth.unban(user)
        assert (await here.call("auth.password", name="Ada", password="correct horse")).status_code == 200


async def test_a_poll_waits_for_what_happens(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        begun = await here.begin()
        phone = here.browser()
        waiting = asyncio.create_task(here.call("auth.poll", ticket=begun["ticket"], wait=20, state="waiting"))
        await phone.get(begun["url"])
        assert (await waiting).json() == {"state": "scanned"}
        waiting = asyncio.create_task(here.call("auth.poll", ticket=begun["ticket"], wait=20, state="scanned"))
        await press(phone, begun["url"], "create", name="Ada")
        assert (await waiting).json()["state"] == "succeeded"
        too_long = await here.call("auth.poll", ticket=begun["ticket"], wait=26)
        assert (too_long.status_code, too_long.json()["field"]) == (400, "wait")


async def test_no_secret_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: Any) -> None:
    async with site(tmp_path) as here:
        begun = await here.begin()
        phone = here.browser()
        await press(phone, begun["url"], "create", name="Ada", password="correct horse")
        made = (await here.state(begun["ticket"]))["token"]
        await here.call("auth.password", name="Ada", password="correct mule")
        said = caplog.text + "".join(capsys.readouterr())
    server = "\n".join(line for line in said.splitlines() if "httpx2" not in line)  # the phone's own log
    for secret in (made, begun["ticket"], "correct horse", "correct mule", phone.cookies["chat_phone"]):
        assert secret not in server


async def test_only_providers_with_tickets_begin(tmp_path: Path) -> None:
    async with site(tmp_path) as here, raw(here.url) as guest:
        for name in ("password", "nobody"):
            answer = await here.call("auth.begin", provider=name)
            assert (answer.status_code, answer.json()["field"]) == (400, "provider")
        await guest.hello(None, "tv")
        assert isinstance(await guest.call("user.me"), Error)


FOREIGN = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://[broken"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_a_press_from_a_page_of_another_site_is_not_done(tmp_path: Path, headers: dict[str, str]) -> None:
    async with site(tmp_path) as here:
        begun = await here.begin()
        phone = here.browser()
        csrf = CSRF.search((await phone.get(begun["url"])).text)[1]  # type: ignore[index]
        data = {"csrf": csrf, "action": "create", "name": "Ada"}
        refused = await phone.post(begun["url"], data=data, headers=headers)
        assert refused.status_code == 403
        assert "another site" in refused.text
        assert await here.state(begun["ticket"]) == {"state": "scanned"}
        mine = {"origin": here.url, "sec-fetch-site": "same-origin"}
        assert (await phone.post(begun["url"], data=data, headers=mine)).status_code == 200


async def test_over_https_the_cookies_are_this_hosts_alone(tmp_path: Path) -> None:
    settings = {"server": {"public_url": "https://chat.example"}}
    async with site(tmp_path, settings=settings) as here:
        begun = await here.begin()
        assert begun["url"].startswith("https://chat.example/login/")
        phone, path = here.browser(), begun["url"].removeprefix("https://chat.example")
        shown = await phone.get(path)
        (cookie,) = shown.headers.get_list("set-cookie")
        assert cookie.startswith("__Host-chat_login=")
        for part in ("Secure", "HttpOnly", "Path=/", "SameSite=strict"):
            assert part in cookie.split("; ")
        assert "Domain" not in cookie
        # The client here speaks plain http, as a proxy does, so it takes the cookie along by hand.
        phone.headers["cookie"] = cookie.partition(";")[0]
        fields = {"csrf": CSRF.search(shown.text)[1], "action": "create", "name": "Ada"}  # type: ignore[index]
        done = await phone.post(path, data=fields, headers={"origin": "https://chat.example"})
        assert done.status_code == 200
        kept = done.headers.get_list("set-cookie")[-1]
        assert kept.startswith("__Host-chat_phone=")
        assert "SameSite=lax" in kept
        phone.headers["cookie"] = kept.partition(";")[0].replace("__Host-", "")
        path = (await here.begin())["url"].removeprefix("https://chat.example")
        assert "Log in as" not in (await phone.get(path)).text, "a cookie that a neighbour could have planted"
        phone.headers["cookie"] = kept.partition(";")[0]
        assert "Log in as Ada" in (await phone.get(path)).text
