"""What ``chat-server check`` sees around the server: clock, disk, who may read the files. It changes nothing."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from chat_common.clock import Clock
from chat_common.errors import ChatError
from chat_common.ports.database import Database
from sqlalchemy import Connection, text

from chat_server.store.disk import check_room
from chat_server.store.private import private_paths

APART = 2.0
"""Seconds by which two clocks may differ. Tokens and invitations end, and messages are dated, by the server's."""


def disk(folder: Path, least: int) -> Sequence[str]:
    """Whether fewer than ``least`` bytes are free there."""
    try:
        check_room(folder, least)
    except ChatError as error:
        return [f"server.data: {error.message}"]
    return []


def file_times(folder: Path, clock: Clock) -> Sequence[str]:
    """Files of the store that were written in the future: the clock is behind, or was ahead. The worst one is named."""
    now = clock.wall_ms() / 1000
    ahead = [(path.stat().st_mtime - now, path) for path in private_paths(folder) if path.exists()]
    late = max(ahead, default=(0.0, folder))
    if late[0] <= APART:
        return []
    return [
        f"clock: {late[1]} was written {late[0]:.0f} s from now: the clock of this machine is behind, or was ahead when"
        " the server ran. Set it by NTP."
    ]


async def database_clock(database: Database, name: str, clock: Clock) -> Sequence[str]:
    """Whether the database and this machine agree on the time; an embedded one has no clock of its own."""
    if database.dialect != "postgresql":
        return []

    def ask(connection: Connection) -> float:
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    before = clock.wall_ms() / 1000
    theirs = await database.read(ask)
    after = clock.wall_ms() / 1000
    apart = before - theirs if theirs < before else min(0.0, after - theirs)
    if abs(apart) <= APART:
        return []
    where = "ahead of" if apart > 0 else "behind"
    return [
        f"database.{name}: the clock of this machine is {abs(apart):.0f} s {where} that of the database:"
        " set both by NTP."
    ]


def modes(folder: Path) -> Sequence[str]:
    """What of the store other users of this machine may read, or reach at all. Our own files are no problem, for these
    rights are taken away whenever the store is opened."""
    return [
        f"{path} is open to other users of this machine, and is closed to them now." for path in _open(folder, True)
    ]


def foreign_modes(folder: Path) -> Sequence[str]:
    """The same of files that belong to another user, whose rights the server cannot change."""
    return [
        f"server.data: {path} is open to other users of this machine and belongs to another user: take its rights away"
        " (chmod go=)."
        for path in _open(folder, False)
    ]


def _open(folder: Path, own: bool) -> Iterator[Path]:
    if sys.platform == "win32":
        return  # There are no such modes.
    me = os.geteuid()
    for path in private_paths(folder):
        if path.exists():
            found = path.stat()
            if stat.S_IMODE(found.st_mode) & 0o077 and (me in (0, found.st_uid)) is own:
                yield path
