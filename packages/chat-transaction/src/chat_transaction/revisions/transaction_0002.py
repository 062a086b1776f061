"""Groups are registered, and stand with each row on their own: one may park a key while another goes on."""

import sqlalchemy as sa
from alembic import op

revision = "transaction_0002"
down_revision = "transaction_0001"
branch_labels = None
depends_on = None

DONE, PARKED = 1, 2


def upgrade() -> None:
    op.create_table(
        "chat_outbox_group",
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("group", sa.Text, primary_key=True),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )
    state = op.create_table(
        "chat_outbox_state",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("group", sa.Text, primary_key=True),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("reason", sa.Text),
    )
    op.create_index("ix_chat_outbox_state_state", "chat_outbox_state", ["state", "group"])
    with op.batch_alter_table("chat_outbox_relay") as relay:
        relay.add_column(sa.Column("abilities", sa.Text, nullable=False, server_default="[]"))
    if not op.get_context().as_sql:
        _carry_over(op.get_bind(), state)
    op.drop_table("chat_outbox_done")


def _carry_over(connection: sa.Connection, state: sa.Table) -> None:
    """What was handled by some groups, and what was parked for some."""
    outbox = sa.table("chat_outbox", *map(sa.column, ("id", "groups", "parked", "error", "attempts")))
    done = sa.table("chat_outbox_done", sa.column("id"), sa.column("group"))
    found = {(row.id, row.group): (DONE, 0, None) for row in connection.execute(sa.select(done))}
    for row in connection.execute(sa.select(outbox).where(outbox.c.parked == 1)):
        for group in (row.groups or "").split(","):
            if group:
                found[row.id, group] = (PARKED, row.attempts, row.error)
    if found:
        columns = ("state", "attempts", "reason")
        connection.execute(
            state.insert(),
            [
                {"id": id, "group": group, **dict(zip(columns, values, strict=True))}
                for (id, group), values in found.items()
            ],
        )


def downgrade() -> None:
    op.create_table(
        "chat_outbox_done",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("group", sa.Text, primary_key=True),
    )
    with op.batch_alter_table("chat_outbox_relay") as relay:
        relay.drop_column("abilities")
    op.drop_table("chat_outbox_state")
    op.drop_table("chat_outbox_group")
