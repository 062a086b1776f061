"""Items and badges: what users were given."""

import sqlalchemy as sa
from alembic import op

revision = "server_0010"
down_revision = "server_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("chat_user", sa.Column("items_version", number, server_default=sa.text("0"), nullable=False))
    op.create_table(
        "chat_item",
        sa.Column("key", bytewise, nullable=False),
        sa.Column("user", bytewise, nullable=False),
        sa.Column("item", bytewise, nullable=False),
        sa.Column("source", bytewise, nullable=False),
        sa.Column("once", bytewise, nullable=True),
        sa.Column("granted_at", number, server_default=sa.text("0"), nullable=False),
        sa.Column("spent_at", number, nullable=True),
        sa.Column("spent_on", bytewise, nullable=True),
        sa.Column("version", number, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sa.UniqueConstraint("once"),
        sqlite_with_rowid=False,
    )
    op.create_index("chat_item_version", "chat_item", ["user", "version"], unique=False)


def downgrade() -> None:
    op.drop_table("chat_item")
    op.drop_column("chat_user", "items_version")
