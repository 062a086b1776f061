"""``chat-server item …``: what users are given, on the live store."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec import UNSET

from chat_server.cli.output import AS_JSON, moment, show
from chat_server.cli.shared import chosen, shared


@click.group()
def item() -> None:
    """Items and badges of users, where `[items] enabled` is on."""


@item.command()
@shared
@click.argument("user")
@click.argument("name", metavar="ITEM")
@click.option("--ref", help="What it is for: a second time, it gives nothing more.")
@AS_JSON
@click.pass_context
def grant(
    ctx: click.Context, config: Path | None, data: str | None, user: str, name: str, ref: str | None, as_json: bool
) -> None:
    """Give the user with the id USER the item with the id ITEM."""
    from chat_server.cli.console import on_console
    from chat_server.items.service import GrantItem

    request = GrantItem(user=user, item=name, ref=ref)
    given = on_console(chosen(ctx, config, data), lambda console: console.rooms.items.grant(console.by, request))
    show(given, as_json, [f"{user} has {name} now" if given.granted else f"{user} had {name} already"])


@item.command("list")
@shared
@click.argument("user")
@click.option("--limit", type=click.IntRange(1, 100), default=50, show_default=True, help="Lines at most.")
@AS_JSON
@click.pass_context
def list_(ctx: click.Context, config: Path | None, data: str | None, user: str, limit: int, as_json: bool) -> None:
    """One line each, newest first: item, when it was given, whether it is spent."""
    from chat_server.cli.console import on_console
    from chat_server.items.service import ListItemsOf

    request = ListItemsOf(user=user, limit=limit)
    page = on_console(chosen(ctx, config, data), lambda console: console.rooms.items.list_of(console.by, request))
    lines = [
        f"{each.item}  {moment(each.granted_at)}{'' if each.spent_at is UNSET else '  spent'}" for each in page.items
    ]
    show(page.items, as_json, lines or [f"{user} has nothing"])
