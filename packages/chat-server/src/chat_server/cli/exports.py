"""``chat-server user export``: all that is known of a person, in one zip."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import click

from chat_server.cli.output import AS_JSON, show
from chat_server.cli.shared import chosen, shared


@click.command()
@shared
@click.argument("who", metavar="USER")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The zip to write, which must not be there yet; else chat-NAME.zip in this folder.",
)
@AS_JSON
@click.pass_context
def export(
    ctx: click.Context, config: Path | None, data: str | None, who: str, out: Path | None, as_json: bool
) -> None:
    """Write all that is known of USER, and what USER may read here, into one zip that only you can read."""
    from chat_server.admin.archive import zipped
    from chat_server.cli.console import Console, on_console

    async def work(console: Console) -> dict[str, Any]:
        admin = console.rooms.admin
        found = await admin.users.find(who)
        _refuse_existing(out)
        gatherer = await admin.exports.of(console.by, found)
        target = out or Path(f"chat-{await gatherer.begin()}.zip")
        size = await _write(target, zipped(gatherer.entries(), gatherer.clock.wall_ms()))
        held = gatherer.counted
        return {
            "user": found,
            "file": str(target),
            "bytes": size,
            "conversations": held.conversations,
            "messages": held.messages,
            "files": held.files,
            "missing": held.missing,
        }

    done = on_console(chosen(ctx, config, data), work)
    lines = [
        f"user           {done['user']}",
        f"file           {done['file']}, {done['bytes']} bytes",
        f"conversations  {done['conversations']}",
        f"messages       {done['messages']}",
        f"files          {done['files']}",
    ]
    if done["missing"]:
        lines.append(f"missing        {len(done['missing'])} files, whose content the object store does not have")
    show(done, as_json, lines)


def _refuse_existing(out: Path | None) -> None:
    """Before anything is noted or read."""
    if out is None:
        return
    if out.is_dir():
        raise click.UsageError(f"--out: {out} is a folder: name the file to write.")
    if os.path.lexists(out):
        raise _exists(out)


def _exists(target: Path) -> click.ClickException:
    return click.ClickException(f"{target} is there already, and is left as it is: name another file with --out.")


async def _write(target: Path, portions: AsyncGenerator[bytes]) -> int:
    """Write a new file that only its owner can read; half of one does not stay. The number of bytes."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    except FileExistsError:
        raise _exists(target) from None
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error.strerror}.") from error
    size = 0
    try:
        with os.fdopen(descriptor, "wb") as file:
            async with aclosing(portions):
                async for portion in portions:
                    size += file.write(portion)
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        os.unlink(target)
        if isinstance(error, OSError):
            why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
            raise click.ClickException(
                f"{target} could not be written: {why}. What there was of it is removed."
            ) from error
        raise
    return size
