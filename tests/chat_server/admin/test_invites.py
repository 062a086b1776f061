"""Invites that are good for one account, on each engine and from the console beside a running server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from chat_common.clock import ManualClock
from chat_common.errors import ChatError, NotFound, NotPermitted
from chat_server.admin.invites import DAY_MS, MakeInvite, OneInvite
from chat_server.cli import main
from chat_server.server import Server
from chat_server.store import invites
from chat_server.store.account_schema import invite
from chat_server.store.schema import user
from click.testing import CliRunner
from sqlalchemy import select

from tests.chat_server.auth.screens import site
from tests.chat_server.house import House, Store

PASSWORD = "correct horse"


async def register(server: Server, name: str, code: str) -> str:
    made = await server.call("auth.register", {"name": name, "password": PASSWORD, "invite": code})
    return str(made.user.user)


async def test_a_code_makes_one_account(store: Store) -> None:
    settings = {**store.settings, "auth": {"registration": "invite"}}
    async with Server(settings=settings) as server:
        made = await server.rooms.admin.invites.make("me", MakeInvite())
        with pytest.raises(NotPermitted):
            await register(server, "eve", f"{made.code}x")
        results = await asyncio.gather(
            *(register(server, name, made.code) for name in ("ada", "bert", "carl")), return_exceptions=True
        )
        users = [each for each in results if isinstance(each, str)]
        refused = [each for each in results if isinstance(each, ChatError)]
        assert (len(users), [each.field for each in refused]) == (1, ["invite", "invite"])
        rows = await server.database.read(lambda connection: connection.execute(select(user.c.user)).scalars().all())
        assert list(rows) == users, "nobody else was made"
        kept = await server.database.read(lambda connection: connection.execute(select(invite)).one())
        assert kept.used_by == users[0]
        assert made.code not in str(kept)
        with pytest.raises(NotFound):
            await server.rooms.admin.invites.revoke("me", OneInvite(invite=made.invite))


async def test_one_is_good_until_its_time_and_not_after_it_was_revoked(house: House) -> None:
    clock: ManualClock = house.clock
    admin = house.rooms.admin.invites

    async def good(code: str) -> bool:
        now = clock.wall_ms()
        return await house.database.read(lambda connection: invites.role_by(connection, code, now)) == "user"

    first, second = await admin.make("me", MakeInvite(days=1)), await admin.make("me", MakeInvite(days=2))
    assert await good(first.code)
    clock.advance(DAY_MS / 1000)
    assert (await good(first.code), await good(second.code)) == (False, True)
    await admin.revoke("me", OneInvite(invite=second.invite))
    assert not await good(second.code)
    clock.advance(invites.KEPT_MS / 1000 + 1)
    third = await admin.make("me", MakeInvite())
    assert [row.invite for row in await house.rows(select(invite))] == [third.invite]


async def test_the_console_invites_beside_a_running_server(tmp_path: Path) -> None:
    async def beside(*words: str) -> Any:
        arguments = ["--data", str(tmp_path), "invite", *words, "--json"]
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments, env={})
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    async with site(tmp_path, settings={"auth": {"registration": "invite"}}) as here:
        made = await beside("new", "--note", "for Ada")
        answer = await here.call("auth.register", name="Ada", password=PASSWORD, invite=made["code"])
        assert answer.status_code == 200
        other = await beside("new")
        listed = {each["invite"]: each for each in await beside("list")}
        assert listed[made["invite"]]["used_by"] == answer.json()["user"]["user"]
        assert listed[made["invite"]]["note"] == "for Ada"
        await beside("revoke", other["invite"])
        answer = await here.call("auth.register", name="Bert", password=PASSWORD, invite=other["code"])
        assert (answer.status_code, answer.json()["field"]) == (403, "invite")
