"""``chat-server push …``: what offline push needs to be set up."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from chat_server.cli.shared import chosen, shared


@click.group()
def push() -> None:
    """Notifications for users who are away."""


@push.command()
@shared
@click.option("--replace", is_flag=True, help="Make a new key although there is one: every page must subscribe anew.")
@click.pass_context
def keys(ctx: click.Context, config: Path | None, data: str | None, replace: bool) -> None:
    """Make the key by which the push services of browsers know this server."""
    from chat_server.cli.data import data_folder, load
    from chat_server.push.backends import KEY_FILE
    from chat_server.push.vapid import make_key

    choice = chosen(ctx, config, data)
    _, settings = load(choice)
    # The section has a setting without a default; the key may be made before that is set.
    configured = [
        line.value
        for line in settings.listing()
        if (line.section, line.key) == ("push_provider.webpush", "key_file") and line.value
    ]
    path = Path(configured[0]) if configured else data_folder(settings) / KEY_FILE
    public = make_key(path, replace=replace)
    click.echo(f"{path}: the private key, which belongs into no other hands; nodes of one chat share it")
    click.echo(f"public key: {public}")


@push.command()
@shared
@click.argument("user")
@click.pass_context
def test(ctx: click.Context, config: Path | None, data: str | None, user: str) -> None:
    """Send a notification to each device of the user with the id USER, and say what its platform answers."""
    from chat_server.cli.push_test import send_test

    lines, delivered = asyncio.run(send_test(chosen(ctx, config, data), user))
    for line in lines:
        click.echo(line)
    if not delivered:
        sys.exit(1)
