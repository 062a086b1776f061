"""Making an account: names, lengths, and who may."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chat_server.auth.screens import site

GOOD = "correct horse"


async def test_a_name_is_taken_once(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.call("auth.register", name="Ada", password=GOOD)
        again = await here.call("auth.register", name="aDA", password=GOOD)
        assert (again.status_code, again.json()["field"]) == (409, "name")


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
