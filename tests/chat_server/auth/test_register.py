"""Making an account: names, lengths, and who may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chat_common.clock import ManualClock
from chat_server.admin.records import AddUser

from tests.chat_server.auth.screens import site

GOOD = "correct horse"


async def test_a_name_is_taken_once(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.call("auth.register", name="Ada", password=GOOD)
        again = await here.call("auth.register", name="aDA", password=GOOD)
        assert (again.status_code, again.json()["field"]) == (409, "name")


async def test_whoever_looks_like_another_cannot_log_in_like_him(tmp_path: Path) -> None:
    async with site(tmp_path, settings={"users": {"handle_letters": ["latin", "cyrillic"]}}) as here:
        made = await here.call("auth.register", name="Zoé", password=GOOD)
        assert made.json()["user"]["handle"] == "zoé"
        for name, code, reason in [
            ("ZOÉ", "conflict", "taken"),
            ("Zoe\u0301", "conflict", "taken"),
            ("\uff3ao\u00e9", "conflict", "taken"),  # fullwidth Z
            ("Zo\u200bé", "invalid", "characters"),  # zero width space
            ("Zo\u00adé", "invalid", "characters"),  # soft hyphen
            ("Z\u043eé", "invalid", "mixed"),  # a Cyrillic letter
            ("Admin", "invalid", "reserved"),
        ]:
            before = here.server.refusals.names["registration", reason]
            answer = (await here.call("auth.register", name=name, password=GOOD)).json()
            assert (answer["code"], answer["field"]) == (code, "name"), name
            assert here.server.refusals.names["registration", reason] == before + 1, name
        await here.call("auth.register", name="Coco", password=GOOD)
        cyrillic = (await here.call("auth.register", name="\u0441\u043e\u0441\u043e", password=GOOD)).json()
        assert cyrillic["code"] == "conflict"


async def test_display_names_may_be_alike_where_the_handles_are_not(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        one = (await here.call("auth.register", name="Emma", password=GOOD)).json()["user"]
        other = (await here.call("auth.register", name="Emma", handle="emma.b", password=GOOD)).json()["user"]
        assert (one["handle"], other["handle"]) == ("emma", "emma.b")
        assert one["skeleton"] == other["skeleton"] == "ernrna"
        again = (await here.call("auth.register", name="Emma", handle="ernma.b", password=GOOD)).json()
        assert (again["code"], again["field"]) == ("conflict", "handle"), "it looks like emma.b"
        wrong = (await here.call("auth.register", name="Emma", handle="no blanks", password=GOOD)).json()
        assert (wrong["code"], wrong["field"]) == ("invalid", "handle")


@pytest.mark.parametrize("typed", ["王小明", "wangxiaoming", " WangXiaoMing ", "@wangxiaoming"])
async def test_people_log_in_by_the_name_that_they_registered_or_by_its_handle(tmp_path: Path, typed: str) -> None:
    async with site(tmp_path) as here:
        made = (await here.call("auth.register", name="王小明", password=GOOD)).json()["user"]
        assert (made["name"], made["handle"]) == ("王小明", "wangxiaoming")
        again = await here.call("auth.password", name=typed, password=GOOD)
        assert again.json()["user"]["user"] == made["user"]
        assert (await here.call("auth.password", name=typed, password="another one")).status_code == 401


async def test_registration_asks_for_an_invite_unless_names_alone_let_people_in(tmp_path: Path) -> None:
    async with site(tmp_path / "dev") as here:
        assert (await here.call("auth.register", name="Ada", password=GOOD)).status_code == 200
    async with site(tmp_path / "live", settings={"auth": {"dev": False}}) as here:
        answer = await here.call("auth.register", name="Ada", password=GOOD)
        assert (answer.status_code, answer.json()["field"]) == (403, "invite")
        assert here.server.refusals.names["registration", "invite"] == 1


@pytest.mark.parametrize(
    ("auth", "said"),
    [({"dev": True}, "open"), ({"dev": False}, "invite"), ({"dev": False, "registration": "closed"}, "closed")],
)
async def test_a_guest_is_told_who_may_make_an_account(tmp_path: Path, auth: dict[str, Any], said: str) -> None:
    async with site(tmp_path, settings={"auth": auth}) as here:
        assert (await here.call("auth.methods")).json()["registration"] == said


@pytest.mark.parametrize("policy", ["invite", "closed", "open"])
async def test_the_first_admin_comes_by_a_link_that_is_good_once(tmp_path: Path, policy: str) -> None:
    clock = ManualClock()
    async with site(tmp_path, settings={"auth": {"dev": False, "registration": policy}}, clock=clock) as here:
        invites = here.server.rooms.admin.invites
        old, code = await invites.first_admin(), await invites.first_admin()
        assert None not in (old, code)
        assert old != code
        if policy != "open":
            late = await here.call("auth.register", name="Ada", password=GOOD, invite=old)
            assert late.status_code == 403, "another start has made another link"
        made = await here.call("auth.register", name="Ada", password=GOOD, invite=code)
        assert made.status_code == 200
        assert await here.server.rooms.admin.users.role_of(made.json()["user"]["user"]) == "admin"
        again = await here.call("auth.register", name="Bob", password=GOOD, invite=code)
        if policy == "open":
            assert await here.server.rooms.admin.users.role_of(again.json()["user"]["user"]) == "user"
        else:
            assert again.status_code == 403
        assert await invites.first_admin() is None, "somebody is there"


async def test_the_link_of_the_first_admin_ends(tmp_path: Path) -> None:
    clock = ManualClock()
    async with site(tmp_path, settings={"auth": {"dev": False}}, clock=clock) as here:
        code = await here.server.rooms.admin.invites.first_admin()
        clock.advance(24 * 3600)
        assert (await here.call("auth.register", name="Ada", password=GOOD, invite=code)).status_code == 403
        code = await here.server.rooms.admin.invites.first_admin()
        await here.server.rooms.admin.users.add("console:test", AddUser(name="Root", password=GOOD, role="admin"))
        answer = await here.call("auth.register", name="Ada", password=GOOD, invite=code)
        assert answer.status_code == 403, "there is an admin by now"


@pytest.mark.parametrize(("password", "limit"), [("1234567", 8), ("x" * 257, 256)])
async def test_a_password_has_its_length(tmp_path: Path, password: str, limit: int) -> None:
    async with site(tmp_path) as here:
        answer = (await here.call("auth.register", name="Ada", password=password)).json()
        assert (answer["code"], answer["field"], answer["limit"]) == ("invalid", "password", limit)


async def test_registration_is_the_servers_policy(tmp_path: Path) -> None:
    async with site(tmp_path / "closed", settings={"auth": {"registration": "closed"}}) as here:
        answer = await here.call("auth.register", name="Ada", password=GOOD)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
    invited = {"auth": {"registration": "invite", "invite": ["open sesame", "打开"]}}
    async with site(tmp_path / "invite", settings=invited) as here:
        for params in ({}, {"invite": ""}, {"invite": "open"}):
            answer = await here.call("auth.register", name="Ada", password=GOOD, **params)
            assert (answer.status_code, answer.json()["field"]) == (403, "invite")
        assert (await here.call("auth.register", name="Ada", password=GOOD, invite="打开")).status_code == 200
    async with site(tmp_path / "none", settings={"auth": {"registration": "invite"}}) as here:
        assert (await here.call("auth.register", name="Ada", password=GOOD, invite="")).status_code == 403
