"""Uploads, files, contents, quotas."""

import sqlalchemy as sa
from alembic import op

revision = "files_0001"
down_revision = None
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LIVE = sa.text("digest IS NOT NULL AND NOT doomed")
_UNCHECKED = sa.text("NOT checked")


def upgrade() -> None:
    op.create_table(
        "chat_file",
        sa.Column("file", _text, nullable=False),
        sa.Column("user", _text, nullable=False),
        sa.Column("conversation", _text, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", _text, nullable=False),
        sa.Column("size", _number, nullable=False),
        sa.Column("state", _text, nullable=False),
        sa.Column("expires_at", _number, nullable=False),
        sa.Column("staging", _text, nullable=False),
        sa.Column("content", _text, nullable=True),
        sa.Column("upload", sa.Text(), nullable=True),
        sa.Column("part_size", _number, server_default=sa.text("0"), nullable=False),
        sa.Column("sha256", _text, nullable=True),
        sa.Column("ref", _text, nullable=True),
        sa.Column("seq", _number, nullable=True),
        sa.Column("due_at", _number, nullable=True),
        sa.Column("stored_size", _number, server_default=sa.text("0"), nullable=False),
        sa.Column("width", _number, nullable=True),
        sa.Column("height", _number, nullable=True),
        sa.Column("animated", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("large", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("file"),
        sqlite_with_rowid=False,
    )
    op.create_index("chat_file_by_content", "chat_file", ["content"])
    op.create_index("chat_file_message", "chat_file", ["conversation", "seq"])
    op.create_index("chat_file_due", "chat_file", ["due_at"])
    op.create_table(
        "chat_file_content",
        sa.Column("content", _text, nullable=False),
        sa.Column("digest", _text, nullable=True),
        sa.Column("checked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("doomed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("content"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "chat_file_content_digest",
        "chat_file_content",
        ["digest"],
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
    op.create_index(
        "chat_file_content_check",
        "chat_file_content",
        ["content"],
        sqlite_where=_UNCHECKED,
        postgresql_where=_UNCHECKED,
    )
    op.create_table(
        "chat_file_staging",
        sa.Column("staging", _text, nullable=False),
        sa.Column("until", _number, nullable=False),
        sa.Column("reserved", _text, nullable=True),
        sa.Column("reserved_at", _number, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("staging"),
        sqlite_with_rowid=False,
    )
    op.create_index("chat_file_staging_until", "chat_file_staging", ["until"])
    op.create_index("chat_file_staging_reserved", "chat_file_staging", ["reserved"])
    op.create_table(
        "chat_file_quota",
        sa.Column("user", _text, nullable=False),
        sa.Column("day", _number, autoincrement=False, nullable=False),
        sa.Column("files", _number, nullable=False),
        sa.Column("bytes", _number, nullable=False),
        sa.PrimaryKeyConstraint("user", "day"),
        sqlite_with_rowid=False,
    )
    op.create_index("chat_file_quota_day", "chat_file_quota", ["day"])


def downgrade() -> None:
    for table in ("chat_file_quota", "chat_file_staging", "chat_file_content", "chat_file"):
        op.drop_table(table)
