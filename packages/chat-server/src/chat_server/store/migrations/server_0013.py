"""Named leases: work that one of several servers does."""

import sqlalchemy as sa
from alembic import op

revision = "server_0013"
down_revision = "server_0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "chat_lease",
        sa.Column("name", bytewise, nullable=False),
        sa.Column("holder", bytewise, server_default="", nullable=False),
        sa.Column("fence", number, server_default=sa.text("0"), nullable=False),
        sa.Column("until", number, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("chat_lease")
