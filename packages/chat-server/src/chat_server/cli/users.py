"""``chat-server user …`` and ``chat-server audit``: accounts and what was done, on the live store."""

from __future__ import annotations

import re
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
from attrs import evolve
from msgspec import UNSET

from chat_server.cli.output import AS_JSON, moment, show
from chat_server.cli.pages import first
from chat_server.cli.shared import chosen, shared

PASSWORD = click.option("--password-stdin", is_flag=True, help="Read the password from the first line of stdin.")
_LENGTH = re.compile(r"(\d{1,5})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}


@click.group()
def user() -> None:
    """Accounts: USER is an id, a login name, or a name that one user alone has."""


@user.command("list")
@shared
@click.option("--query", metavar="TEXT", help="Those whose name begins so, or with this login name or id.")
@click.option("--role", type=click.Choice(["user", "admin"]), help="Those with this role.")
@click.option("--banned", is_flag=True, help="Those who are banned.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Lines at most.")
@AS_JSON
@click.pass_context
def list_(
    ctx: click.Context,
    config: Path | None,
    data: str | None,
    query: str | None,
    role: Any,
    banned: bool,
    limit: int,
    as_json: bool,
) -> None:
    """One line each: id, role, since when, name, ban."""
    from chat_server.admin.records import Account, ListAccounts
    from chat_server.cli.console import Console, on_console

    async def work(console: Console) -> list[Account]:
        request = ListAccounts(query=query, role=role, banned=banned)
        users = console.rooms.admin.users
        return await first(limit, request, lambda page: users.list(console.by, page), lambda page: page.accounts)

    found = on_console(chosen(ctx, config, data), work)
    show(found, as_json, [_line(each) for each in found] or ["there are no such users"])


@user.command()
@shared
@click.argument("name")
@click.option("--handle", help="What it logs in by, where that is not to go by NAME.")
@click.option("--role", type=click.Choice(["user", "admin"]), default="user", show_default=True)
@PASSWORD
@AS_JSON
@click.pass_context
def add(
    ctx: click.Context,
    config: Path | None,
    data: str | None,
    name: str,
    handle: str | None,
    role: Any,
    password_stdin: bool,
    as_json: bool,
) -> None:
    """Make an account that logs in as NAME. Without --password-stdin a password is made up and printed."""
    from chat_server.admin.records import AddUser
    from chat_server.cli.console import on_console

    password = _password(password_stdin)
    request = AddUser(name=_checked(name), handle=handle, password=password, role=role)
    account = on_console(chosen(ctx, config, data), lambda console: console.rooms.admin.users.add(console.by, request))
    said = [] if password_stdin else [f"password  {password}"]
    show(_with_password(account, None if password_stdin else password), as_json, [*_page(account), *said])


def _named_user(
    name: str,
    summary: str,
    request: Callable[..., Any],
    use_case: Callable[[Any], Callable[[str, Any], Awaitable[Any]]],
    *parameters: Callable[[Any], Any],
) -> None:
    """Make the subcommand ``user NAME USER …``; ``request(user=…, …)`` gets the other parameters by name."""

    @user.command(name, help=summary)
    @shared
    @click.argument("who", metavar="USER")
    @AS_JSON
    @click.pass_context
    def command(
        ctx: click.Context, /, config: Path | None, data: str | None, who: str, as_json: bool, **more: Any
    ) -> None:
        from chat_server.cli.console import Console, on_console

        async def work(console: Console) -> Any:
            found = await console.rooms.admin.users.find(who)
            return await use_case(console.rooms.admin.users)(console.by, request(user=found, **more))

        account = on_console(chosen(ctx, config, data), work)
        show(account, as_json, _page(account))

    for parameter in reversed(parameters):
        parameter(command)


def _record(record: str, /, **given: Any) -> Any:
    from chat_server.admin import records

    return getattr(records, record)(**given)


_named_user("show", "All that is known of USER.", partial(_record, "OneUser"), lambda users: users.show)
_named_user(
    "rename",
    "Give USER another NAME, which everybody sees.",
    lambda user, name: _record("RenameUser", user=user, name=_checked(name)),
    lambda users: users.rename,
    click.argument("name"),
)
_named_user(
    "role",
    "Make USER an admin, or a plain user.",
    partial(_record, "SetRole"),
    lambda users: users.set_role,
    click.argument("role", type=click.Choice(["user", "admin"])),
)
_named_user(
    "ban",
    "Keep USER out, and close what is open.",
    lambda user, length, reason: _record("BanUser", user=user, until=until_of(length), reason=reason),
    lambda users: users.ban,
    click.option("--for", "length", metavar="TIME", help="Such as 12h, 7d or 4w; else for good."),
    click.option("--reason", help="For other admins."),
)
_named_user("unban", "Let USER in again.", partial(_record, "OneUser"), lambda users: users.unban)
_named_user("logout", "End every login of USER.", partial(_record, "OneUser"), lambda users: users.log_out)


@user.command()
@shared
@click.argument("who", metavar="USER")
@click.option("--messages", is_flag=True, help="Recall all that USER has said as well.")
@AS_JSON
@click.pass_context
def delete(ctx: click.Context, config: Path | None, data: str | None, who: str, messages: bool, as_json: bool) -> None:
    """Delete the account USER for good: it cannot be undone. Its messages stay, under "Deleted account"."""
    from chat_common.errors import Unavailable

    from chat_server.admin.deletion import DeletedUser, DeleteUser
    from chat_server.cli.console import Console, on_console

    async def work(console: Console) -> DeletedUser:
        deletions = console.rooms.admin.deletions
        found = await console.rooms.admin.users.find(who)
        await deletions.delete(console.by, DeleteUser(user=found, messages=messages))
        await deletions.finish_one(found)  # a server that runs may be at it as well
        if (files := await console.files()) is not None:
            try:
                await files.sweep()
            except Unavailable as error:
                click.echo(f"The files go when the object store answers, and a server runs: {error}", err=True)
        return evolve(await deletions.state(found), messages=messages)

    gone = on_console(chosen(ctx, config, data), work)
    show(gone, as_json, [f"deleted   {gone.user}, at {moment(gone.deleted_at)}"])


@user.command()
@shared
@click.argument("who", metavar="USER")
@PASSWORD
@AS_JSON
@click.pass_context
def passwd(
    ctx: click.Context, config: Path | None, data: str | None, who: str, password_stdin: bool, as_json: bool
) -> None:
    """Give USER another password, and end every login. Without --password-stdin it is made up and printed."""
    from chat_server.cli.console import Console, on_console

    password = _password(password_stdin)

    async def work(console: Console) -> Any:
        users = console.rooms.admin.users
        return await users.set_password(
            console.by, _record("SetPassword", user=await users.find(who), password=password)
        )

    account = on_console(chosen(ctx, config, data), work)
    said = [] if password_stdin else [f"password  {password}"]
    show(_with_password(account, None if password_stdin else password), as_json, [*_page(account), *said])


@click.command()
@shared
@click.option("--about", metavar="USER", help="What this user did, and what was done to it.")
@click.option("--act", help="Such as login.failed or user.ban; `user` for all that begin so.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Lines at most.")
@AS_JSON
@click.pass_context
def audit(
    ctx: click.Context,
    config: Path | None,
    data: str | None,
    about: str | None,
    act: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Who did what to whom, newest first: time, act, actor, subject, details. Kept for 180 days."""
    from chat_common.errors import NotFound

    from chat_server.admin.records import AuditNote, ListNotes
    from chat_server.cli.console import Console, on_console

    async def work(console: Console) -> list[AuditNote]:
        meant = about
        if about is not None:
            try:
                meant = await console.rooms.admin.users.find(about)
            except NotFound:  # An address, a login name that nobody has, or an account that is gone.
                meant = about
        request = ListNotes(about=meant, act=act)
        admin = console.rooms.admin
        return await first(limit, request, lambda page: admin.audit(console.by, page), lambda page: page.notes)

    found = on_console(chosen(ctx, config, data), work)
    lines = [
        f"{moment(each.time)} {each.act:<14} {each.actor} → {each.subject}"
        + "".join(f" {name}={value}" for name, value in each.details.items())
        for each in found
    ]
    show(found, as_json, lines or ["nothing was noted"])


def _line(account: Any) -> str:
    banned = "" if account.ban is UNSET else "  banned" + _ban_end(account.ban)
    return f"{account.user}  {account.role:<5}  {moment(account.created_at)}  {account.name}{banned}"


def _ban_end(ban: Any) -> str:
    return " for good" if ban.until is UNSET else f" until {moment(ban.until)}"


def _page(account: Any) -> list[str]:
    lines = [
        f"user      {account.user}",
        f"name      {account.name}",
        *([] if account.handle is UNSET else [f"handle    {account.handle}"]),
        f"role      {account.role}",
        f"created   {moment(account.created_at)}",
        f"logins    {account.logins}" + ("" if account.seen_at is UNSET else f", last seen {moment(account.seen_at)}"),
        *(f"logs in   {way}" for way in account.logs_in),
        *([] if account.deleted_at is UNSET else [f"deleted   {moment(account.deleted_at)}"]),
    ]
    if account.ban is not UNSET:
        reason = "" if account.ban.reason is UNSET else f": {account.ban.reason}"
        lines.append(f"banned   {_ban_end(account.ban)}{reason}")
    return lines


def _with_password(account: Any, password: str | None) -> Any:
    return account if password is None else {**msgspec.to_builtins(account), "password": password}


def _checked(name: str) -> str:
    if not name.strip() or len(name) > 64:
        raise click.UsageError("NAME: 1 to 64 characters, and not blank")
    return name


def _password(from_stdin: bool) -> str:
    if not from_stdin:
        return secrets.token_urlsafe(12)
    password = sys.stdin.readline().rstrip("\r\n")
    if not 8 <= len(password) <= 256:
        raise click.UsageError("The password has to have 8 to 256 characters.")
    return password


def until_of(length: str | None) -> int | None:
    """The end of such a time from now, in ms since 1970; None: for good."""
    if length is None:
        return None
    found = _LENGTH.fullmatch(length)
    if found is None:
        raise click.UsageError("--for: a number with h, d or w behind it, such as 12h, 7d or 4w")
    return round(time.time() * 1000) + int(found[1]) * _HOURS[found[2]] * 3_600_000
