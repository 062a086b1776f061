"""Reports of messages and users, for admins to work off."""

import sqlalchemy as sa
from alembic import op

revision = "server_0008"
down_revision = "server_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "chat_report",
        sa.Column("report", bytewise, nullable=False),
        sa.Column("reporter", bytewise, nullable=False),
        sa.Column("about", bytewise, nullable=False),
        sa.Column("conversation", bytewise, nullable=False),
        sa.Column("seq", number, server_default=sa.text("0"), nullable=False),
        sa.Column("category", bytewise, nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", number, server_default=sa.text("0"), nullable=False),
        sa.Column("closed_at", number, nullable=True),
        sa.Column("closed_by", bytewise, nullable=True),
        sa.Column("outcome", bytewise, nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("report"),
        sa.UniqueConstraint("reporter", "conversation", "seq", "about", name="chat_report_once"),
        sqlite_with_rowid=False,
    )
    op.create_index("chat_report_closed", "chat_report", ["closed_at", "created_at", "report"], unique=False)
    op.create_index("chat_report_reporter", "chat_report", ["reporter", "created_at"], unique=False)
    op.create_index("chat_report_message", "chat_report", ["conversation", "seq"], unique=False)
    op.create_index("chat_report_about", "chat_report", ["about", "created_at"], unique=False)


def downgrade() -> None:
    op.drop_table("chat_report")
