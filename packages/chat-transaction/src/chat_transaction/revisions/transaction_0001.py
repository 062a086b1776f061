"""The outbox, its leases and its dead letters."""

import sqlalchemy as sa
from alembic import op

revision = "transaction_0001"
down_revision = None
branch_labels = None
depends_on = None

_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "chat_outbox",
        sa.Column("id", _id, primary_key=True, autoincrement=True),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("parked", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("error", sa.Text),
        sa.Column("groups", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "chat_outbox_lease",
        sa.Column("shard", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("owner", sa.Text),
        sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("until", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_table(
        "chat_outbox_relay",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "chat_outbox_done",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("group", sa.Text, primary_key=True),
    )
    op.create_table(
        "chat_dead_letter",
        sa.Column("id", _id, primary_key=True, autoincrement=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("group", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("buried_at", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "chat_inbox",
        sa.Column("group", sa.Text, primary_key=True),
        sa.Column("uid", sa.Text, primary_key=True),
        sa.Column("handled_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_chat_inbox_handled_at", "chat_inbox", ["handled_at"])


def downgrade() -> None:
    tables = ("chat_inbox", "chat_dead_letter", "chat_outbox_done", "chat_outbox_relay", "chat_outbox_lease")
    for table in (*tables, "chat_outbox"):
        op.drop_table(table)
