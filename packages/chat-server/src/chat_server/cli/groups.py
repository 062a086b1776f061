"""``chat-server group …``: groups, on the live store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
from msgspec import UNSET

from chat_server.cli.output import AS_JSON, moment, show
from chat_server.cli.pages import first
from chat_server.cli.shared import chosen, shared


@click.group()
def group() -> None:
    """Groups: GROUP is an id, USER as in `chat-server user`."""


@group.command("list")
@shared
@click.option("--query", metavar="TEXT", help="Those with this in their name.")
@click.option("--user", "who", metavar="USER", help="Those that this user is in.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Lines at most.")
@AS_JSON
@click.pass_context
def list_(
    ctx: click.Context,
    config: Path | None,
    data: str | None,
    query: str | None,
    who: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """One line each: id, members, messages, since when, name."""
    from chat_server.admin.groups import GroupInfo, ListGroups
    from chat_server.cli.console import Console, on_console

    async def work(console: Console) -> list[GroupInfo]:
        admin = console.rooms.admin
        user = None if who is None else await admin.users.find(who)
        request = ListGroups(query=query, user=user)
        return await first(limit, request, lambda page: admin.groups.list(console.by, page), lambda page: page.groups)

    found = on_console(chosen(ctx, config, data), work)
    lines = [
        f"{each.conversation}  {each.members:>6}  {each.messages:>8}  {moment(each.created_at)}  {each.name}"
        + ("  dissolved" if each.dissolved else "")
        for each in found
    ]
    show(found, as_json, lines or ["there are no such groups"])


def _run(
    ctx: click.Context, config: Path | None, data: str | None, as_json: bool, work: Callable[[Any], Awaitable[Any]]
) -> None:
    from chat_server.cli.console import on_console

    info = on_console(chosen(ctx, config, data), work)
    lines = [
        f"group     {info.conversation}",
        f"name      {info.name}",
        f"created   {moment(info.created_at)}",
        f"members   {info.members}",
        f"messages  {info.messages}",
        *([] if info.owner is UNSET else [f"owner     {info.owner}"]),
        *(f"admin     {each}" for each in info.admins),
        *([] if info.kept_days is UNSET else [f"kept      {_days(info.kept_days)}"]),
        *([] if info.own_days is UNSET else [f"chosen    {_days(info.own_days)}"]),
        *(["dissolved"] if info.dissolved else []),
    ]
    show(info, as_json, lines)


def _days(days: int) -> str:
    return f"{days} days" if days else "for ever"


@group.command("show")
@shared
@click.argument("name", metavar="GROUP")
@AS_JSON
@click.pass_context
def show_(ctx: click.Context, config: Path | None, data: str | None, name: str, as_json: bool) -> None:
    """All that is known of GROUP, but not what was said there."""
    from chat_server.admin.groups import OneGroup

    _run(
        ctx,
        config,
        data,
        as_json,
        lambda console: console.rooms.admin.groups.show(console.by, OneGroup(conversation=name)),
    )


@group.command()
@shared
@click.argument("name", metavar="GROUP")
@AS_JSON
@click.pass_context
def dissolve(ctx: click.Context, config: Path | None, data: str | None, name: str, as_json: bool) -> None:
    """End GROUP for all; what was said stays readable to who was in it."""
    from chat_server.admin.groups import OneGroup

    _run(
        ctx,
        config,
        data,
        as_json,
        lambda console: console.rooms.admin.groups.dissolve(console.by, OneGroup(conversation=name)),
    )


@group.command()
@shared
@click.argument("name", metavar="GROUP")
@click.argument("who", metavar="USER")
@AS_JSON
@click.pass_context
def owner(ctx: click.Context, config: Path | None, data: str | None, name: str, who: str, as_json: bool) -> None:
    """Hand GROUP to its member USER."""
    from chat_server.admin.groups import SetOwner

    async def work(console: Any) -> Any:
        admin = console.rooms.admin
        return await admin.groups.set_owner(console.by, SetOwner(conversation=name, user=await admin.users.find(who)))

    _run(ctx, config, data, as_json, work)


@group.command()
@shared
@click.argument("name", metavar="GROUP")
@click.argument("days", metavar="DAYS|forever|default")
@AS_JSON
@click.pass_context
def retention(ctx: click.Context, config: Path | None, data: str | None, name: str, days: str, as_json: bool) -> None:
    """Delete the messages of GROUP after so many DAYS; `forever`: never; `default`: as `[retention] days` says.

    They are deleted for everybody, with their files, within a day and an hour. What the group has chosen is void.
    """
    from chat_server.admin.groups import SetRetention
    from chat_server.store.retention import MOST_DAYS

    said = {"forever": 0, "default": None}
    if days not in said and not (days.isascii() and days.isdigit() and 1 <= int(days) <= MOST_DAYS):
        raise click.BadParameter(f"A number of days from 1 to {MOST_DAYS}, `forever` or `default`.", param_hint="DAYS")
    wanted = SetRetention(conversation=name, days=said[days] if days in said else int(days))
    _run(
        ctx,
        config,
        data,
        as_json,
        lambda console: console.rooms.admin.groups.set_retention(console.by, wanted),
    )
