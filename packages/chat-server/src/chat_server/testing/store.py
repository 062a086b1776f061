"""Where the servers of tests keep their data: a folder in memory where the machine has one, with tables in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from chat_common.plugins import Plugins
from sqlalchemy import create_engine

from chat_server.store import migrate

MEMORY = Path("/dev/shm")
"""A file system in memory, on Linux."""
NAME = "chat.db"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder of its own, which is gone afterwards."""
    where = MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="chat-test-", dir=where, ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextlib.contextmanager
def template() -> Iterator[Path]:
    """An empty database file with the tables of all installed plugins."""
    with folder() as where:
        engine = create_engine(f"sqlite:///{where / NAME}")
        with engine.begin() as connection:
            migrate.upgrade_all(connection, [owned.record for owned in Plugins.load().tables])
        engine.dispose()
        yield where / NAME


@contextlib.contextmanager
def copy_of(made: Path) -> Iterator[Path]:
    """A data folder with a copy of the template."""
    with folder() as where:
        shutil.copyfile(made, where / NAME)
        (where / NAME).chmod(0o600)
        yield where
