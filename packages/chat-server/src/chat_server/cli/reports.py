"""``chat-server report …``: what users and lists of words have reported, on the live store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
from msgspec import UNSET

from chat_server.cli.output import AS_JSON, moment, show
from chat_server.cli.pages import first
from chat_server.cli.shared import chosen, shared

NOTE = click.option("--note", metavar="TEXT", help="For other admins.")


@click.group()
def report() -> None:
    """Reports: REPORT is an id, as `report list` prints it."""


@report.command("list")
@shared
@click.option("--closed", is_flag=True, help="Those that were closed, the last one first.")
@click.option("--about", "who", metavar="USER", help="Those about this user.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Lines at most.")
@AS_JSON
@click.pass_context
def list_(
    ctx: click.Context,
    config: Path | None,
    data: str | None,
    closed: bool,
    who: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """One line each: id, since when, category, about whom, outcome, the message as it is now."""
    from chat_server.admin.reports import ListReports, Report
    from chat_server.cli.console import Console, on_console

    async def work(console: Console) -> list[Report]:
        admin = console.rooms.admin
        about = None if who is None else await admin.users.find(who)
        request = ListReports(state="closed" if closed else "open", about=about)
        return await first(limit, request, lambda page: admin.reports.list(console.by, page), lambda page: page.reports)

    found = on_console(chosen(ctx, config, data), work)
    lines = [
        f"{each.report}  {moment(each.created_at)}  {each.category:<10}  {each.about}"
        + ("" if each.outcome is UNSET else f"  {each.outcome}")
        + ("" if each.preview is UNSET else f"  {_said(each.preview)}")
        for each in found
    ]
    show(found, as_json, lines or ["there are no such reports"])


def _said(preview: Any) -> str:
    return "(taken down)" if preview.kind == "recalled" else f"[{preview.kind}] {preview.text}"


def _run(
    ctx: click.Context, config: Path | None, data: str | None, as_json: bool, work: Callable[[Any], Awaitable[Any]]
) -> None:
    from chat_server.cli.console import on_console

    shown = on_console(chosen(ctx, config, data), work)
    each = shown.report
    facts = {
        "report": each.report,
        "reporter": each.reporter,
        "about": each.about,
        "category": each.category,
        "made": moment(each.created_at),
        "reason": each.reason,
        "message": UNSET if each.seq is UNSET else f"{each.conversation} {each.seq}",
        "says": UNSET if each.preview is UNSET else _said(each.preview),
        "outcome": each.outcome,
        "closed": UNSET if each.closed_at is UNSET else f"{moment(each.closed_at)} by {each.closed_by}",
        "note": each.note,
    }
    show(shown, as_json, [f"{name:<8}  {value}" for name, value in facts.items() if value is not UNSET])


@report.command("show")
@shared
@click.argument("name", metavar="REPORT")
@AS_JSON
@click.pass_context
def show_(ctx: click.Context, config: Path | None, data: str | None, name: str, as_json: bool) -> None:
    """REPORT with the message as it is now; that you looked is noted."""
    from chat_server.admin.reports import OneReport

    _run(
        ctx,
        config,
        data,
        as_json,
        lambda console: console.rooms.admin.reports.show(console.by, OneReport(report=name)),
    )


@report.command()
@shared
@click.argument("name", metavar="REPORT")
@NOTE
@AS_JSON
@click.pass_context
def dismiss(
    ctx: click.Context, config: Path | None, data: str | None, name: str, note: str | None, as_json: bool
) -> None:
    """Close REPORT: there is nothing in it."""
    _run(ctx, config, data, as_json, lambda console: _close(console, name, "dismissed", note))


async def _close(console: Any, name: str, outcome: Any, note: str | None) -> Any:
    from chat_server.admin.reports import CloseReport

    return await console.rooms.admin.reports.close(console.by, CloseReport(report=name, outcome=outcome, note=note))


@report.command()
@shared
@click.argument("name", metavar="REPORT")
@NOTE
@AS_JSON
@click.pass_context
def takedown(
    ctx: click.Context, config: Path | None, data: str | None, name: str, note: str | None, as_json: bool
) -> None:
    """Take the message of REPORT down for everybody, and close all reports of it."""
    from chat_server.admin.reports import OneReport, TakeDown

    async def work(console: Any) -> Any:
        reports = console.rooms.admin.reports
        about = (await reports.show(console.by, OneReport(report=name))).report
        if about.seq is UNSET:
            raise click.ClickException("This report is about a user and no message: warn or ban the user.")
        await reports.take_down(console.by, TakeDown(conversation=about.conversation, seq=about.seq, note=note))
        return await reports.show(console.by, OneReport(report=name))

    _run(ctx, config, data, as_json, work)


@report.command()
@shared
@click.argument("name", metavar="REPORT")
@click.argument("text", metavar="TEXT")
@AS_JSON
@click.pass_context
def warn(ctx: click.Context, config: Path | None, data: str | None, name: str, text: str, as_json: bool) -> None:
    """Write TEXT to the user whom REPORT is about, as the server's moderator, and close it."""
    from chat_server.admin.reports import OneReport, WarnUser

    async def work(console: Any) -> Any:
        reports = console.rooms.admin.reports
        about = (await reports.show(console.by, OneReport(report=name))).report.about
        await reports.warn(console.by, WarnUser(user=about, text=text, report=name))
        return await reports.show(console.by, OneReport(report=name))

    _run(ctx, config, data, as_json, work)


@report.command()
@shared
@click.argument("name", metavar="REPORT")
@click.option("--for", "how_long", metavar="TIME", help="Such as 12h, 7d or 4w; else for good.")
@NOTE
@AS_JSON
@click.pass_context
def ban(
    ctx: click.Context,
    config: Path | None,
    data: str | None,
    name: str,
    how_long: str | None,
    note: str | None,
    as_json: bool,
) -> None:
    """Keep the user whom REPORT is about out, and close it."""
    from chat_server.admin.records import BanUser
    from chat_server.admin.reports import OneReport
    from chat_server.cli.users import until_of

    until = until_of(how_long)

    async def work(console: Any) -> Any:
        admin = console.rooms.admin
        about = (await admin.reports.show(console.by, OneReport(report=name))).report.about
        await admin.users.ban(console.by, BanUser(user=about, until=until, reason=note or f"report {name}"))
        return await _close(console, name, "banned", note)

    _run(ctx, config, data, as_json, work)
