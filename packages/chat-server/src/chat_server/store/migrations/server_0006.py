"""Roles of users; what was done by whom."""

import sqlalchemy as sa
from alembic import op

revision = "server_0006"
down_revision = "server_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("chat_user", sa.Column("role", bytewise, server_default="user", nullable=False))
    op.create_table(
        "chat_audit",
        sa.Column("time", number, autoincrement=False, nullable=False),
        sa.Column("entry", bytewise, nullable=False),
        sa.Column("actor", bytewise, nullable=False),
        sa.Column("act", bytewise, nullable=False),
        sa.Column("subject", bytewise, nullable=False),
        sa.Column("details", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("time", "entry"),
        sqlite_with_rowid=False,
    )
    op.create_index("chat_audit_subject", "chat_audit", ["subject", "time"], unique=False)
    op.create_index("chat_audit_act", "chat_audit", ["act", "time"], unique=False)


def downgrade() -> None:
    op.drop_table("chat_audit")
    op.drop_column("chat_user", "role")
