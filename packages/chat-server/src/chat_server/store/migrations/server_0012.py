"""Push addresses belong to logins. Those of devices whose logins were ended are left behind."""

import sqlalchemy as sa
from alembic import op

revision = "server_0012"
down_revision = "server_0011"
branch_labels = None
depends_on = None

_LIVES = "{0}.ended_at IS NULL AND {0}.audience IS NULL"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "chat_push_address",
        sa.Column("user", bytewise, nullable=False),
        sa.Column("login", bytewise, nullable=False),
        sa.Column("provider", bytewise, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("subscribed_at", number, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("user", "login"),
        sqlite_with_rowid=False,
    )
    # A device belongs to its newest login.
    op.execute(
        'INSERT INTO chat_push_address ("user", login, provider, address, subscribed_at) '
        'SELECT s."user", l.login, s.provider, s.address, l.created_at FROM chat_push_subscription s '
        f'JOIN chat_login l ON l."user" = s."user" AND l.device = s.device AND {_LIVES.format("l")} '
        'WHERE NOT EXISTS (SELECT 1 FROM chat_login n WHERE n."user" = l."user" AND n.device = l.device '
        f"AND {_LIVES.format('n')} "
        "AND (n.created_at > l.created_at OR (n.created_at = l.created_at AND n.login > l.login)))"
    )
    op.drop_table("chat_push_subscription")


def downgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "chat_push_subscription",
        sa.Column("user", bytewise, nullable=False),
        sa.Column("device", bytewise, nullable=False),
        sa.Column("provider", bytewise, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("user", "device"),
        sqlite_with_rowid=False,
    )
    op.execute(
        'INSERT INTO chat_push_subscription ("user", device, provider, address) '
        'SELECT a."user", l.device, a.provider, a.address FROM chat_push_address a '
        "JOIN chat_login l ON l.login = a.login WHERE l.device IS NOT NULL ON CONFLICT DO NOTHING"
    )
    op.drop_table("chat_push_address")
