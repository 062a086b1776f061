"""Backup and restore of the embedded database: the supported way, which never reuses a number under one epoch."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from chat_common.settings import SetupError
from sqlalchemy import create_engine

from chat_server.store import epoch, private
from chat_server.store.sqlite import require_database


@contextlib.contextmanager
def data_lock(folder: Path) -> Iterator[None]:
    """Hold the data folder: one server, or one restore, at a time. `SetupError` when somebody else does.

    An advisory lock that the system frees when the process ends, however it ends.
    """
    private.make_folder(folder)
    private.make_file(folder / "chat.lock")
    with (folder / "chat.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SetupError(f"Another chat-server is using the data folder {folder}.") from None
        yield


def backup(database: Path, target: Path) -> int:
    """A consistent copy of a database that may be in use; returns its size in bytes.

    The copy appears under ``target`` when it is complete and on disk, or not at all. `SetupError` if ``target`` is
    there already or ``database`` is not.
    """
    if not database.is_file():
        raise SetupError(f"There is no database at {database}.")
    require_database(database)
    if target.exists():
        raise SetupError(f"{target} exists already: a backup overwrites nothing.")
    if not target.parent.is_dir():
        raise SetupError(f"There is no folder {target.parent} for the backup: make it first.")
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    private.make_file(partial)  # empty, and so taken for none
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as source:
            source.execute("VACUUM INTO ?", (str(partial),))
        _sync(partial)
        partial.rename(target)
        _sync(target.parent)
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def restore(source: Path, database: Path) -> str:
    """Put a backup in the database's place, under a new epoch, which is returned: every client starts over.

    The server must be stopped. What was there before is kept beside it as ``…replaced-TIME``. `SetupError` for a file
    that is no sound backup of ours: then nothing is changed.
    """
    _require_sound(source)
    with data_lock(database.parent):
        fresh = database.with_name(f".{database.name}.restoring")
        _remove(fresh)
        try:
            private.make_file(fresh)
            shutil.copyfile(source, fresh)
            engine = create_engine(f"sqlite:///{fresh}")
            with engine.begin() as connection:
                value = epoch.renew(connection)
            engine.dispose()
            _sync(fresh)
            if database.exists():
                private.make_database(database)  # it stays beside the new one
                # Its write-ahead log belongs to it and goes with it, under the same name.
                kept = database.with_name(f"{database.name}.replaced-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
                for tail in ("-wal", "-shm", ""):
                    part = database.with_name(database.name + tail)
                    if part.exists():
                        part.rename(kept.with_name(kept.name + tail))
            fresh.rename(database)
            _sync(database.parent)
        finally:
            _remove(fresh)
    return value


def _remove(database: Path) -> None:
    for tail in ("", "-wal", "-shm", "-journal"):
        database.with_name(database.name + tail).unlink(missing_ok=True)


def new_epoch(database: Path) -> str:
    """Give the store a new epoch, after it was restored or promoted by other means."""
    if not database.is_file():
        raise SetupError(f"There is no database at {database}.")
    require_database(database)
    with data_lock(database.parent):
        engine = create_engine(f"sqlite:///{database}")
        with engine.begin() as connection:
            value = epoch.renew(connection)
        engine.dispose()
    return value


def _require_sound(path: Path) -> None:
    if not path.is_file():
        raise SetupError(f"There is no backup at {path}.")
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source:
            verdict = source.execute("PRAGMA quick_check").fetchone()[0]
            ours = source.execute("SELECT count(*) FROM chat_meta WHERE key = 'epoch'").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise SetupError(f"{path} is not a backup of chat-server: {error}") from None
    if verdict != "ok" or not ours:
        raise SetupError(f"{path} is not a sound backup of chat-server: {verdict}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
