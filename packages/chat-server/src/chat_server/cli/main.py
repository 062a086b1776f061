"""``chat-server``: runs the server; its subcommands look at it, check it and keep its data."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import click

from chat_server.cli import exports, groups, invites, items, push, reports, users
from chat_server.cli.choice import Choice
from chat_server.cli.output import AS_JSON
from chat_server.cli.shared import Group, chosen, shared


@click.group(cls=Group, invoke_without_command=True)
@click.version_option(package_name="interesting-chat-server")
@shared
@click.option("--host", metavar="HOST", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), metavar="PORT", help="Port to listen on; 0: a free one.")
@click.option("--dev", count=True, help="Log in by name alone. Say it twice for an address that others can reach.")
@click.option(
    "--gateways",
    type=click.IntRange(1, 64),
    metavar="N",
    help="So many processes for the connections, beside one for all else, on one port: for a machine with many cores.",
)
@click.pass_context
def main(
    ctx: click.Context,
    config: Path | None,
    data: str | None,
    host: str | None,
    port: int | None,
    dev: int,
    gateways: int | None,
) -> None:
    """An instant-messaging server. Without a subcommand it runs, and prints its address when it is ready."""
    ctx.obj = Choice(config, data, host, port)
    if ctx.invoked_subcommand is None:
        # What is imported stays; looking for garbage in it would take a sixth of the start.
        gc.disable()
        try:
            if gateways is not None:
                from chat_server.cli.gateways import serve_gateways

                sys.exit(serve_gateways(ctx.obj, dev, gateways))
            from chat_server.cli.serve import serve

            sys.exit(serve(ctx.obj, dev))
        finally:
            gc.enable()
    elif dev or host is not None or port is not None or gateways is not None:
        raise click.UsageError("--dev, --host, --port and --gateways belong to running the server, not to a subcommand")


@main.command()
@shared
@click.pass_context
def plugins(ctx: click.Context, config: Path | None, data: str | None) -> None:
    """What is installed: plugins with their versions, ports, the pipeline, commands."""
    from chat_server.cli.listing import plugin_lines

    click.echo("\n".join(plugin_lines(chosen(ctx, config, data))))


@main.command("config")
@shared
@click.option("--markdown", is_flag=True, help="As the reference page of the documentation, with defaults alone.")
@click.pass_context
def config_(ctx: click.Context, config: Path | None, data: str | None, markdown: bool) -> None:
    """Every setting: its value and where it comes from, its default, its owner."""
    from chat_server.cli.listing import settings_lines, settings_page

    choice = chosen(ctx, config, data)
    click.echo(settings_page() if markdown else "\n".join(settings_lines(choice)))


@main.command()
@shared
@click.pass_context
def check(ctx: click.Context, config: Path | None, data: str | None) -> None:
    """Whether it could run: settings, plugins, database, tables, every chosen backend, clock, disk, who may read the
    files. Changes nothing, but that the store is closed to other users of this machine when it is opened."""
    from chat_server.cli.check import connections, files, handles, notes, problems

    choice = chosen(ctx, config, data)
    said = notes(choice)
    found = problems(choice)
    for problem in found:
        click.echo(problem, err=True)
    if found:
        sys.exit(1)
    for note in said:
        click.echo(note)
    click.echo(connections(choice))
    click.echo(files(choice))
    for line in handles(choice):
        click.echo(line)
    click.echo("everything is in order")


@main.command()
@shared
@click.option("--sql", is_flag=True, help="Print the statements and run nothing.")
@click.pass_context
def migrate(ctx: click.Context, config: Path | None, data: str | None, sql: bool) -> None:
    """Bring the tables to the newest revision."""
    from chat_server.cli.data import run_migrations

    for line in run_migrations(chosen(ctx, config, data), sql):
        click.echo(line)


@main.command()
@shared
@click.argument("target", type=click.Path(path_type=Path))
@click.pass_context
def backup(ctx: click.Context, config: Path | None, data: str | None, target: Path) -> None:
    """Write a consistent copy of the database to TARGET. The server may be running."""
    from chat_server.cli.data import sqlite_file
    from chat_server.store.backup import backup

    size = backup(sqlite_file(chosen(ctx, config, data)), target)
    click.echo(f"{target}: {size} bytes")


@main.command()
@shared
@click.argument("source", type=click.Path(path_type=Path))
@click.pass_context
def restore(ctx: click.Context, config: Path | None, data: str | None, source: Path) -> None:
    """Put the backup SOURCE in the database's place, under a new epoch. The server must be stopped."""
    from chat_server.cli.data import sqlite_file
    from chat_server.store.backup import restore

    click.echo(f"restored; the new epoch is {restore(source, sqlite_file(chosen(ctx, config, data)))}")


@main.command()
@shared
@AS_JSON
@click.pass_context
def nodes(ctx: click.Context, config: Path | None, data: str | None, as_json: bool) -> None:
    """Which servers there are: state, since when, release, address, load, roles, and what each does for all. Those that
    went without a word are shown as gone for an hour."""
    from chat_server.cli.nodes import show_nodes

    show_nodes(chosen(ctx, config, data), as_json)


@main.group()
def epoch() -> None:
    """The store's epoch: under a new one every client starts over."""


@epoch.command("new")
@shared
@click.pass_context
def epoch_new(ctx: click.Context, config: Path | None, data: str | None) -> None:
    """A new epoch, after the store was restored or promoted with loss. The server must be stopped."""
    from chat_server.cli.data import renew_epoch

    click.echo(f"the new epoch is {renew_epoch(chosen(ctx, config, data))}")


@main.group()
def oss() -> None:
    """The object store that keeps what people send."""


@oss.command("init")
@shared
@click.pass_context
def oss_init(ctx: click.Context, config: Path | None, data: str | None) -> None:
    """Make the bucket, its clean-up rules, and access for the pages of allowed_origins. May be repeated."""
    from chat_server.cli.objects import prepare_store

    for line in prepare_store(chosen(ctx, config, data)):
        click.echo(line)


@main.group("dead-letters")
def dead_letters() -> None:
    """What consumers gave up after their last attempt."""


@dead_letters.command("list")
@shared
@click.option("--topic", help="Of this topic alone.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True, help="Lines at most.")
@click.option("--after", metavar="ID", help="Go on behind this one.")
@click.pass_context
def dead_letters_list(
    ctx: click.Context, config: Path | None, data: str | None, topic: str | None, limit: int, after: str | None
) -> None:
    """One line each, newest first: id, state, time, topic, group, key, attempts, reason."""
    from chat_server.cli.dead_letters import dead_letter_lines

    for line in dead_letter_lines(chosen(ctx, config, data), topic, limit, after):
        click.echo(line)


@dead_letters.command("show")
@shared
@click.argument("id")
@click.option("--payload", is_flag=True, help="Print the payload, which may hold what people wrote.")
@click.pass_context
def dead_letters_show(ctx: click.Context, config: Path | None, data: str | None, id: str, payload: bool) -> None:
    """All that is known of the dead letter ID."""
    from chat_server.cli.dead_letters import dead_letter_page

    for line in dead_letter_page(chosen(ctx, config, data), id, payload):
        click.echo(line)


@dead_letters.command("replay")
@shared
@click.argument("ids", nargs=-1, required=True)
@click.pass_context
def dead_letters_replay(ctx: click.Context, config: Path | None, data: str | None, ids: tuple[str, ...]) -> None:
    """Try the dead letters IDS again. The server may be running, and takes them at once."""
    from chat_server.cli.dead_letters import replay_dead_letters

    click.echo(replay_dead_letters(chosen(ctx, config, data), ids))


@dead_letters.command("drop")
@shared
@click.argument("ids", nargs=-1, required=True)
@click.pass_context
def dead_letters_drop(ctx: click.Context, config: Path | None, data: str | None, ids: tuple[str, ...]) -> None:
    """Forget the dead letters IDS; the key of a parked one goes on."""
    from chat_server.cli.dead_letters import drop_dead_letters

    click.echo(drop_dead_letters(chosen(ctx, config, data), ids))


@main.group()
def outbox() -> None:
    """What is committed and not carried out yet."""


@outbox.command("status")
@shared
@click.pass_context
def outbox_status(ctx: click.Context, config: Path | None, data: str | None) -> None:
    """Depth by topic, the oldest row's age, the rate of change, what was given up."""
    from chat_server.cli.dead_letters import status_lines

    for line in status_lines(chosen(ctx, config, data)):
        click.echo(line)


@outbox.command("forget")
@shared
@click.argument("topic")
@click.argument("group")
@click.pass_context
def outbox_forget(ctx: click.Context, config: Path | None, data: str | None, topic: str, group: str) -> None:
    """The consumer group GROUP of TOPIC is gone for good: let no row wait for it any more."""
    from chat_server.cli.dead_letters import forget_group

    click.echo(forget_group(chosen(ctx, config, data), topic, group))


@main.group()
def rocketmq() -> None:
    """What a RocketMQ broker needs to know before the server can use it."""


def _provision(what: str, summary: str) -> None:
    @rocketmq.command(what, help=summary)
    @shared
    @click.pass_context
    def command(ctx: click.Context, config: Path | None, data: str | None) -> None:
        from chat_server.cli.dead_letters import provision

        click.echo(provision(chosen(ctx, config, data), "rocketmq", what))


_provision("topics", "The file for `mqadmin updateTopicList -f`: every topic with its type.")
_provision("groups", "The file for `mqadmin updateSubGroupList -f`: every consumer group, ordered.")


users.user.add_command(exports.export)
main.add_command(users.user)
main.add_command(users.audit)
main.add_command(groups.group)
main.add_command(invites.invite)
main.add_command(items.item)
main.add_command(push.push)
main.add_command(reports.report)
