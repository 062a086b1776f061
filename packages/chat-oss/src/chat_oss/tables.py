"""The tables of uploads and files. All names begin with ``chat_file``; all times are milliseconds since 1970 UTC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Table, Text, false, text

OWNER = "files"
"""The tables stood in the server before they came here, and its databases know them by this name."""
REVISIONS = str(Path(__file__).parent / "revisions")
metadata = MetaData()

_bytewise = Text().with_variant(Text(collation="C"), "postgresql")
_number = BigInteger().with_variant(Integer(), "sqlite")

file = Table(
    "chat_file",
    metadata,
    Column("file", _bytewise, primary_key=True),
    Column("user", _bytewise, nullable=False),
    Column("conversation", _bytewise, nullable=False),
    Column("name", Text, nullable=False),
    Column("type", _bytewise, nullable=False),
    Column("size", _number, nullable=False),
    Column("state", _bytewise, nullable=False),
    Column("expires_at", _number, nullable=False),
    Column("staging", _bytewise, nullable=False),
    Column("content", _bytewise),
    Column("upload", Text),
    Column("part_size", _number, nullable=False, server_default=text("0")),
    Column("sha256", _bytewise),
    Column("ref", _bytewise),
    Column("seq", _number),
    Column("due_at", _number),
    Column("stored_size", _number, nullable=False, server_default=text("0")),
    Column("width", _number),
    Column("height", _number),
    Column("animated", Boolean, nullable=False, server_default=false()),
    Column("large", Boolean, nullable=False, server_default=false()),
    Column("failures", _number, nullable=False, server_default=text("0")),
    Column("utf8", Boolean, nullable=False, server_default=false()),
    Column("unstripped", Boolean, nullable=False, server_default=false()),
    Index("chat_file_by_content", "content"),
    Index("chat_file_message", "conversation", "seq"),
    Index("chat_file_due", "due_at"),
    Index("chat_file_user", "user", "file"),
    sqlite_with_rowid=False,
)
"""``state``: begun, finished, or gone (its message was recalled). ``seq``: the message that it stands in. ``due_at``:
when it is to be dropped; none while it stands in a message. ``failures``: how often a begun upload was wrong.
``utf8``: a text that is UTF-8 throughout. ``unstripped``: a picture or video that may still name place and camera."""

content = Table(
    "chat_file_content",
    metadata,
    Column("content", _bytewise, primary_key=True),
    Column("digest", _bytewise),
    Column("checked", Boolean, nullable=False, server_default=false()),
    Column("unused", Boolean, nullable=False, server_default=false()),
    Column("held_at", _number, nullable=False, server_default=text("0")),
    sqlite_with_rowid=False,
)
"""``checked``: nothing has happened to it since it was seen to be in use. ``unused``: no file may use it any more, its
objects are being deleted. ``held_at``: since when somebody writes it; 0: nobody does.

Two partial indexes are made by the revisions and by `create_tables`: said here with ``postgresql_where`` they would
make every start import PostgreSQL's dialect, 50 ms.
"""

staging = Table(
    "chat_file_staging",
    metadata,
    Column("staging", _bytewise, primary_key=True),
    Column("until", _number, nullable=False),
    Index("chat_file_staging_until", "until"),
    sqlite_with_rowid=False,
)
"""What clients were allowed to write to."""

quota = Table(
    "chat_file_quota",
    metadata,
    Column("user", _bytewise, primary_key=True),
    Column("day", _number, primary_key=True, autoincrement=False),
    Column("files", _number, nullable=False),
    Column("bytes", _number, nullable=False),
    Index("chat_file_quota_day", "day"),
    sqlite_with_rowid=False,
)
"""What was begun a day. ``day``: days since 1970 UTC."""

usage = Table(
    "chat_file_usage",
    metadata,
    Column("user", _bytewise, primary_key=True),
    Column("bytes", _number, nullable=False),
    sqlite_with_rowid=False,
)
"""What each user keeps: see `chat_oss.quota`."""

PARTIAL = (
    "CREATE UNIQUE INDEX IF NOT EXISTS chat_file_content_digest ON chat_file_content (digest) "
    "WHERE digest IS NOT NULL AND NOT unused",
    "CREATE INDEX IF NOT EXISTS chat_file_content_check ON chat_file_content (content) WHERE NOT checked",
)


def create_tables(connection: Any) -> None:
    """Create what is missing (for use without a migration tool; `revisions` holds the same for alembic)."""
    metadata.create_all(connection)
    for statement in PARTIAL:
        connection.exec_driver_sql(statement)
