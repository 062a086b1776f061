"""Deleted accounts."""

import sqlalchemy as sa
from alembic import op

revision = "server_0009"
down_revision = "server_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("chat_user", sa.Column("deleted_at", number, nullable=True))
    op.create_table(
        "chat_deletion",
        sa.Column("user", bytewise, nullable=False),
        sa.Column("messages", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("step", bytewise, nullable=False),
        sa.Column("after", bytewise, nullable=False),
        sa.Column("begun_at", number, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("user"),
        sqlite_with_rowid=False,
    )
    op.create_index("chat_contact_other", "chat_contact", ["other", "user"], unique=False)


def downgrade() -> None:
    op.drop_index("chat_contact_other", "chat_contact")
    op.drop_table("chat_deletion")
    op.drop_column("chat_user", "deleted_at")
