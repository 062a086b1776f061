"""A content is held by itself: two tries to finish one upload each hold what they write."""

import sqlalchemy as sa
from alembic import op

revision = "files_0003"
down_revision = "files_0002"
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("chat_file_content", sa.Column("held_at", _number, server_default=sa.text("0"), nullable=False))
    op.drop_index("chat_file_staging_reserved", "chat_file_staging")
    op.drop_column("chat_file_staging", "reserved")
    op.drop_column("chat_file_staging", "reserved_at")


def downgrade() -> None:
    op.add_column("chat_file_staging", sa.Column("reserved", _text, nullable=True))
    op.add_column("chat_file_staging", sa.Column("reserved_at", _number, server_default=sa.text("0"), nullable=False))
    op.create_index("chat_file_staging_reserved", "chat_file_staging", ["reserved"])
    op.drop_column("chat_file_content", "held_at")
