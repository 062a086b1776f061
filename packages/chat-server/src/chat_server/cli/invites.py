"""``chat-server invite …``: invitations for new people, on the live store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from msgspec import UNSET

from chat_server.cli.output import AS_JSON, moment, show
from chat_server.cli.shared import chosen, shared


@click.group()
def invite() -> None:
    """Codes with each of which one account can be made, where `auth.registration` is `invite`."""


@invite.command()
@shared
@click.option("--days", type=click.IntRange(1, 365), default=7, show_default=True, help="How long it is good.")
@click.option("--note", metavar="TEXT", help="For whom, for other admins.")
@AS_JSON
@click.pass_context
def new(ctx: click.Context, config: Path | None, data: str | None, days: int, note: str | None, as_json: bool) -> None:
    """Make a code, which is shown this once."""
    from chat_server.admin.invites import MakeInvite
    from chat_server.cli.console import on_console

    request = MakeInvite(days=days, note=note)
    made = on_console(chosen(ctx, config, data), lambda console: console.rooms.admin.invites.make(console.by, request))
    show(made, as_json, [f"invite  {made.invite}", f"code    {made.code}", f"until   {moment(made.expires_at)}"])


@invite.command("list")
@shared
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="Lines at most.")
@AS_JSON
@click.pass_context
def list_(ctx: click.Context, config: Path | None, data: str | None, limit: int, as_json: bool) -> None:
    """One line each, newest first: id, until when, how it stands, note. Codes are not kept."""
    from chat_server.admin.invites import ListInvites
    from chat_server.cli.console import on_console

    request = ListInvites(limit=limit)
    page = on_console(chosen(ctx, config, data), lambda console: console.rooms.admin.invites.list(console.by, request))
    lines = [
        f"{each.invite}  {moment(each.expires_at)}  {_state(each)}{'' if each.note is UNSET else f'  {each.note}'}"
        for each in page.invites
    ]
    show(page.invites, as_json, lines or ["there are no invites"])


@invite.command()
@shared
@click.argument("name", metavar="INVITE")
@AS_JSON
@click.pass_context
def revoke(ctx: click.Context, config: Path | None, data: str | None, name: str, as_json: bool) -> None:
    """End the invite with the id INVITE, which nobody has used."""
    from chat_server.admin.invites import OneInvite
    from chat_server.cli.console import on_console

    request = OneInvite(invite=name)
    done = on_console(
        chosen(ctx, config, data), lambda console: console.rooms.admin.invites.revoke(console.by, request)
    )
    show(done, as_json, [f"{name} is not good any more"])


def _state(each: Any) -> str:
    if each.used_by is not UNSET:
        return f"used by {each.used_by}"
    return "good" if each.expires_at > time.time() * 1000 else "over"
