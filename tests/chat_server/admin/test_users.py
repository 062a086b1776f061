"""Accounts as admins see and change them, on each engine, through the commands that a client calls."""

from __future__ import annotations

from typing import Any

import pytest
from chat_common.errors import ChatError, Conflict, Invalid, NotAuthenticated, NotFound, NotPermitted
from chat_server.admin.records import AddUser, RenameUser
from chat_server.server import Server
from chat_server.services import Credentials
from msgspec import UNSET

from tests.chat_server.house import plain

PASSWORD = "correct horse"


@pytest.fixture
async def admin(server: Server) -> str:
    """The id of the first admin, made as the command line makes it."""
    made = await server.rooms.admin.users.add("console:me", AddUser(name="root", password=PASSWORD, role="admin"))
    return made.user


async def log_in(server: Server, name: str, password: str = PASSWORD) -> Any:
    return await server.call("auth.password", {"name": name, "password": password})


async def acts(server: Server, admin: str, **wanted: Any) -> list[tuple[str, str, str]]:
    page = await server.call("admin.audit.list", wanted, user=admin)
    return [(each.act, each.actor, each.subject) for each in page.notes]


async def test_only_admins_may_and_a_role_that_was_taken_away_is_gone_at_once(server: Server, admin: str) -> None:
    ada = (await server.ensure_user("ada")).user
    for name, entry in server.pipeline.commands.items():
        if not name.startswith("admin."):
            continue
        assert entry.command.callers == "admins"
        with pytest.raises(NotAuthenticated):
            await server.call(name, {})
        with pytest.raises(NotPermitted):
            await server.call(name, {}, user=ada)
    await server.call("admin.user.role", {"user": ada, "role": "admin"}, user=admin)
    assert (await server.call("admin.user.show", {"user": ada}, user=ada)).role == "admin"
    await server.call("admin.user.role", {"user": ada, "role": "user"}, user=admin)
    with pytest.raises(NotPermitted):
        await server.call("admin.user.show", {"user": ada}, user=ada)


async def test_an_account_that_was_added_logs_in_and_its_name_is_taken(server: Server, admin: str) -> None:
    made = await server.call("admin.user.add", {"name": "Bert", "password": PASSWORD}, user=admin)
    assert (await log_in(server, "bert")).user.user == made.user
    with pytest.raises(Conflict) as error:
        await server.call("admin.user.add", {"name": "BERT", "password": PASSWORD}, user=admin)
    assert error.value.field == "name"
    shown = await server.call("admin.user.show", {"user": made.user}, user=admin)
    assert (shown.name, shown.role, shown.logins, shown.logs_in) == ("Bert", "user", 1, ["password bert"])
    assert len((await server.call("admin.user.list", {"query": "bert"}, user=admin)).accounts) == 1


async def test_another_password_ends_every_login(server: Server, admin: str) -> None:
    made = await server.call("admin.user.add", {"name": "bert", "password": PASSWORD}, user=admin)
    token = (await log_in(server, "bert")).token
    await server.call("admin.user.password", {"user": made.user, "password": "another one"}, user=admin)
    with pytest.raises(NotAuthenticated, match="admin"):
        await server.rooms.auth.authenticate(Credentials(token))
    with pytest.raises(NotAuthenticated, match="wrong"):
        await log_in(server, "bert")
    assert (await log_in(server, "bert", "another one")).user.user == made.user


async def test_an_account_without_a_password_gets_its_first(server: Server, admin: str) -> None:
    ada = (await server.ensure_user("ada")).user
    await server.call("admin.user.password", {"user": ada, "password": PASSWORD}, user=admin)
    assert (await log_in(server, "ada")).user.user == ada


async def test_a_ban_keeps_out_and_is_shown_until_it_is_taken_back(server: Server, admin: str) -> None:
    made = await server.call("admin.user.add", {"name": "bert", "password": PASSWORD}, user=admin)
    token = (await log_in(server, "bert")).token
    until = server.clock.wall_ms() + 3_600_000
    banned = await server.call("admin.user.ban", {"user": made.user, "until": until, "reason": "spam"}, user=admin)
    assert plain(banned)["ban"] == {"until": until, "reason": "spam"}
    with pytest.raises(NotPermitted):
        await server.rooms.auth.authenticate(Credentials(token))
    with pytest.raises(NotPermitted):
        await log_in(server, "bert")
    listed = await server.call("admin.user.list", {"banned": True}, user=admin)
    assert [each.user for each in listed.accounts] == [made.user]
    assert (await server.call("admin.user.unban", {"user": made.user}, user=admin)).ban is UNSET
    assert (await log_in(server, "bert")).user.user == made.user


async def test_logging_out_ends_what_lives(server: Server, admin: str) -> None:
    made = await server.call("admin.user.add", {"name": "bert", "password": PASSWORD}, user=admin)
    token = (await log_in(server, "bert")).token
    assert (await server.call("admin.user.logout", {"user": made.user}, user=admin)).logins == 0
    with pytest.raises(NotAuthenticated, match="admin"):
        await server.rooms.auth.authenticate(Credentials(token))


async def test_another_name_is_seen_by_everybody(server: Server, admin: str) -> None:
    ada = (await server.ensure_user("ada")).user
    await server.call("admin.user.rename", {"user": ada, "name": "Ada L."}, user=admin)
    assert (await server.call("user.me", user=ada)).name == "Ada L."


@pytest.mark.parametrize("command", ["role", "ban"])
async def test_nobody_locks_himself_out(server: Server, admin: str, command: str) -> None:
    more = {"role": "user"} if command == "role" else {}
    with pytest.raises(Conflict) as error:
        await server.call(f"admin.user.{command}", {"user": admin, **more}, user=admin)
    assert error.value.field == "user"


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("show", {}),
        ("rename", {"name": "x"}),
        ("password", {"password": PASSWORD}),
        ("role", {"role": "admin"}),
        ("ban", {}),
        ("logout", {}),
    ],
)
async def test_nobody_is_not_found(server: Server, admin: str, command: str, more: dict[str, Any]) -> None:
    before = await acts(server, admin)
    with pytest.raises(NotFound):
        await server.call(f"admin.user.{command}", {"user": "nobody", **more}, user=admin)
    assert await acts(server, admin) == before, "nothing was done, so nothing is noted"


async def test_the_audit_tells_who_did_what_and_no_secrets(server: Server, admin: str) -> None:
    made = await server.call("admin.user.add", {"name": "bert", "password": PASSWORD}, user=admin)
    bert = made.user
    with pytest.raises(ChatError):
        await log_in(server, "bert", "not the right one")
    with pytest.raises(ChatError):
        await log_in(server, "nobody", "not the right one")
    await log_in(server, "bert")
    await server.call("admin.user.ban", {"user": bert}, user=admin)
    await server.call("admin.user.ban", {"user": bert}, user=admin, ref="once")
    await server.call("admin.user.ban", {"user": bert}, user=admin, ref="once")
    await server.call("admin.user.unban", {"user": bert}, user=admin)
    await server.call("admin.user.unban", {"user": bert}, user=admin)
    wanted = [
        ("user.unban", admin, bert),
        ("user.ban", admin, bert),
        ("user.ban", admin, bert),
        ("login", bert, bert),
        ("login.failed", "local", "nobody"),
        ("login.failed", "local", bert),
        ("user.add", admin, bert),
        ("user.add", "console:me", admin),
    ]
    # Two notes of the same millisecond stand in either order.
    assert sorted(await acts(server, admin)) == sorted(wanted)
    assert await acts(server, admin, act="login.failed", about=bert) == [("login.failed", "local", bert)]
    assert {act for act, _, _ in await acts(server, admin, act="user")} == {"user.unban", "user.ban", "user.add"}
    assert "not the right one" not in str(await server.call("admin.audit.list", {}, user=admin))


async def test_pages_hold_everything_once(server: Server, admin: str) -> None:
    for number in range(5):
        await server.ensure_user(f"user {number}")
        await server.rooms.auth.ban((await server.ensure_user(f"user {number}")).user)
    for command, shown, key in (
        ("admin.user.list", "accounts", lambda each: each.user),
        ("admin.audit.list", "notes", lambda each: (each.act, each.subject)),
    ):
        whole = getattr(await server.call(command, {}, user=admin), shown)
        found: list[Any] = []
        cursor = None
        while cursor is not UNSET:
            page = await server.call(command, {"limit": 2, "cursor": cursor}, user=admin)
            found += getattr(page, shown)
            cursor = page.cursor
        assert [key(each) for each in found] == [key(each) for each in whole]
        assert len({key(each) for each in found}) == 6
    with pytest.raises(Invalid):
        await server.call("admin.user.list", {"cursor": "nonsense"}, user=admin)


async def test_somebody_is_found_by_id_login_name_or_the_only_name(server: Server, admin: str) -> None:
    find = server.rooms.admin.users.find
    assert await find(admin) == await find("ROOT") == admin
    ada = (await server.ensure_user("1", "Ada")).user
    assert await find("ada") == ada
    other = (await server.ensure_user("2", "Ada")).user
    assert (await find("ada"), await find("@ada2")) == (ada, other), "each by a login name of its own"
    for who in (ada, other):
        await server.rooms.admin.users.rename("console:test", RenameUser(user=who, name="Countess"))
    with pytest.raises(Conflict) as error:
        await find("countess")
    assert ada in str(error.value)
    assert other in str(error.value)
    with pytest.raises(NotFound):
        await find("nobody")


async def test_a_reserved_name_may_be_given_and_what_only_looks_like_it_may_not(server: Server, admin: str) -> None:
    """Nothing is left out of a name in silence: of Cyrillic "а" and "dmin" one letter would have stayed."""
    users = server.rooms.admin.users
    assert (await users.add("console:test", AddUser(name="Support", password="correct horse"))).name == "Support"
    for name in ("\u0430dmin", "ad\u200bmin"):
        with pytest.raises(Invalid, match="name:"):
            await users.add("console:test", AddUser(name=name, password="correct horse"))
        with pytest.raises(Invalid, match="name:"):
            await users.rename("console:test", RenameUser(user=admin, name=name))
