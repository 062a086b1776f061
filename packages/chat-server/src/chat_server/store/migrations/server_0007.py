"""Invitations to make an account, each good for one."""

import sqlalchemy as sa
from alembic import op

revision = "server_0007"
down_revision = "server_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "chat_invite",
        sa.Column("invite", bytewise, nullable=False),
        sa.Column("digest", bytewise, nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("made_by", bytewise, nullable=False),
        sa.Column("created_at", number, server_default=sa.text("0"), nullable=False),
        sa.Column("expires_at", number, server_default=sa.text("0"), nullable=False),
        sa.Column("used_by", bytewise, nullable=True),
        sa.PrimaryKeyConstraint("invite"),
        sa.UniqueConstraint("digest"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("chat_invite")
