"""Files that nobody else on this machine may read: the data folder, the database, what belongs to it, its copies.

They hold what everybody has said. New ones are made private before anything stands in them; those that are there
already, from an older version or another program, are mended at the start, and that is said once.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import structlog
from chat_common.settings import SetupError

FOLDER_MODE, FILE_MODE = 0o700, 0o600
_OTHERS = 0o077
_TAILS = ("", "-wal", "-shm", "-journal")
_SQLITE = b"SQLite format 3\0"

log = structlog.get_logger("chat.store")


def ensure_folder(folder: Path) -> None:
    """Make a private folder if there is none. `SetupError` where there can be none."""
    if folder.exists() and not folder.is_dir():
        raise SetupError(f"{folder} is a file, not a folder: choose another data folder with --data.")
    with _usable(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)


def make_folder(folder: Path) -> None:
    """Make a private folder, or make one that is there private, with the databases in it: copies and backups too.
    `SetupError` where there can be none."""
    ensure_folder(folder)
    _mend([folder, *_databases(folder)])


def private_paths(folder: Path) -> list[Path]:
    """What `make_folder` makes private; nothing of a folder that is not there or cannot be read."""
    try:
        return [folder, *_databases(folder)]
    except OSError:
        return []


def make_database(path: Path) -> None:
    """Make an empty private file for a database, or make one that is there private, with all that belongs to it.

    SQLite gives its write-ahead log the mode of the database.
    """
    _touch(path)
    _mend(path.with_name(path.name + tail) for tail in _TAILS)


def make_file(path: Path) -> None:
    """Make an empty private file, or make one that is there private."""
    _touch(path)
    _mend([path])


def _touch(path: Path) -> None:
    with _usable(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, FILE_MODE))


@contextlib.contextmanager
def _usable(path: Path) -> Iterator[None]:
    """What the system says of a path that cannot be written, as a sentence for an operator."""
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"{path} cannot be written ({error.strerror}): let the user who runs chat-server write there, or choose"
            " another place."
        ) from error


def _databases(folder: Path) -> Iterator[Path]:
    """The SQLite files directly in a folder, and what belongs to them; nothing else that may lie there."""
    names = {entry.name for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)}
    for name in sorted(names):
        with (folder / name).open("rb") as file:
            found = file.read(len(_SQLITE)) == _SQLITE
        if found:
            yield from (folder / (name + tail) for tail in _TAILS if name + tail in names)


def _mend(paths: Iterable[Path]) -> None:
    mended = []
    for path in paths:
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & _OTHERS:
                path.chmod(mode & ~_OTHERS)
                mended.append(str(path))
        except FileNotFoundError:
            continue
        except PermissionError:
            log.warning("open_to_others", path=str(path), advice="It belongs to another user: take its rights away.")
    if mended:
        log.warning("closed_to_others", paths=mended)
