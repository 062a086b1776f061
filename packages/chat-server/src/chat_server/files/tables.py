"""The tables of uploads and files."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Boolean, Column, Index, MetaData, Table, Text, false, text

from chat_server.store.schema import Bytewise, Number

OWNER = "files"
REVISIONS = str(Path(__file__).parent / "revisions")
metadata = MetaData()

file = Table(
    "chat_file",
    metadata,
    Column("file", Bytewise, primary_key=True),
    Column("user", Bytewise, nullable=False),
    Column("conversation", Bytewise, nullable=False),
    Column("name", Text, nullable=False),
    Column("type", Bytewise, nullable=False),
    Column("size", Number, nullable=False),
    Column("state", Bytewise, nullable=False),
    Column("expires_at", Number, nullable=False),
    Column("staging", Bytewise, nullable=False),
    Column("content", Bytewise),
    Column("upload", Text),
    Column("part_size", Number, nullable=False, server_default=text("0")),
    Column("sha256", Bytewise),
    Column("ref", Bytewise),
    Column("seq", Number),
    Column("due_at", Number),
    Column("stored_size", Number, nullable=False, server_default=text("0")),
    Column("width", Number),
    Column("height", Number),
    Column("animated", Boolean, nullable=False, server_default=false()),
    Column("large", Boolean, nullable=False, server_default=false()),
    Column("failures", Number, nullable=False, server_default=text("0")),
    Index("chat_file_by_content", "content"),
    Index("chat_file_message", "conversation", "seq"),
    Index("chat_file_due", "due_at"),
    sqlite_with_rowid=False,
)
"""``seq``: the message that it stands in. ``due_at``: when it is to be dropped; none while it stands in a message.
``failures``: how often a begun upload was found to be wrong."""

content = Table(
    "chat_file_content",
    metadata,
    Column("content", Bytewise, primary_key=True),
    Column("digest", Bytewise),
    Column("checked", Boolean, nullable=False, server_default=false()),
    Column("doomed", Boolean, nullable=False, server_default=false()),
    Column("held_at", Number, nullable=False, server_default=text("0")),
    sqlite_with_rowid=False,
)
"""``checked``: nothing has happened to it since it was seen to be in use. ``held_at``: since when somebody writes it;
0: nobody does.

Two partial indexes are made by the revision alone, on the digests in use and on what is unchecked: said here with
``postgresql_where`` they would make every start import PostgreSQL's dialect, 50 ms.
"""

staging = Table(
    "chat_file_staging",
    metadata,
    Column("staging", Bytewise, primary_key=True),
    Column("until", Number, nullable=False),
    Index("chat_file_staging_until", "until"),
    sqlite_with_rowid=False,
)
"""What clients were allowed to write to."""

quota = Table(
    "chat_file_quota",
    metadata,
    Column("user", Bytewise, primary_key=True),
    Column("day", Number, primary_key=True, autoincrement=False),
    Column("files", Number, nullable=False),
    Column("bytes", Number, nullable=False),
    Index("chat_file_quota_day", "day"),
    sqlite_with_rowid=False,
)
"""``day``: days since 1970 UTC."""
