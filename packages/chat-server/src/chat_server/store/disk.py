"""Whether the disk under the data folder has room: a database on a full one still reads, and writes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from chat_common.errors import Unavailable


def check_room(folder: Path, least: int) -> None:
    """`Unavailable` when fewer than ``least`` bytes are free there. A folder that is not there holds nothing."""
    if not folder.is_dir():
        return
    free = shutil.disk_usage(folder).free
    if free < least:
        raise Unavailable(f"The disk of the data folder is full: {free} bytes are free, {least} are needed.")
