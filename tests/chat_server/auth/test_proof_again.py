"""``user.delete``: one's own account, and the proof that it takes."""

from __future__ import annotations

from pathlib import Path

from chat_common.clock import ManualClock
from chat_server.admin.records import SetRole

from tests.chat_server.auth.screens import site
from tests.support.raw import raw

GOOD = "correct horse"
SETTINGS = {"auth": {"dev": True, "registration": "open"}}


async def test_one_deletes_the_own_account_by_the_password(tmp_path: Path) -> None:
    clock = ManualClock()
    async with site(tmp_path, settings=SETTINGS, clock=clock) as here, raw(here.url) as socket:
        ada = (await here.call("auth.register", name="Ada", password=GOOD, device="d")).json()
        token = ada["token"]
        clock.advance(301)
        await socket.hello(token, "d")
        bare = await here.call("user.delete", token)
        assert (bare.status_code, bare.json()["field"]) == (403, "password")
        wrong = await here.call("user.delete", token, password="wrong")
        assert (wrong.status_code, wrong.json()["field"]) == (401, "password")
        assert (await here.call("user.me", token)).status_code == 200
        gone = await here.call("user.delete", token, password=GOOD, messages=True)
        assert (gone.status_code, gone.json()["messages"]) == (200, True)
        assert await socket.closed() == 4401
        assert (await here.call("user.me", token)).status_code == 401
        assert (await here.call("auth.password", name="Ada", password=GOOD)).status_code == 401
        assert (await here.call("auth.register", name="Ada", password=GOOD)).status_code == 200  # the name is free


async def test_a_fresh_login_is_a_proof_where_there_is_no_password(tmp_path: Path) -> None:
    clock = ManualClock()
    async with site(tmp_path, settings=SETTINGS, clock=clock) as here:
        old = (await here.call("auth.dev", name="Bob", device="a")).json()["token"]
        clock.advance(301)
        assert (await here.call("user.delete", old, password="what there is not")).status_code == 403
        fresh = (await here.call("auth.dev", name="Bob", device="b")).json()["token"]
        assert (await here.call("user.delete", fresh)).status_code == 200
        assert (await here.call("user.me", old)).status_code == 401


async def test_the_only_admin_stays(tmp_path: Path) -> None:
    async with site(tmp_path, settings=SETTINGS) as here:
        boss = (await here.call("auth.dev", name="Boss", device="a")).json()
        users = here.server.rooms.admin.users
        await users.set_role("console:me", SetRole(user=boss["user"]["user"], role="admin"))
        assert (await here.call("user.delete", boss["token"])).status_code == 409
        other = (await here.call("auth.dev", name="Other", device="a")).json()["user"]["user"]
        await users.set_role("console:me", SetRole(user=other, role="admin"))
        assert (await here.call("user.delete", boss["token"])).status_code == 200
