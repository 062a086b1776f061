"""Logins as rows of their own, tokens that know their renewal; devices are logins now.

What lives stays in: each family of tokens that was neither ended nor is over becomes a login.
"""

import sqlalchemy as sa
from alembic import op

revision = "server_0004"
down_revision = "server_0003"
branch_labels = None
depends_on = None


def _bytewise() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "chat_login",
        sa.Column("login", _bytewise(), nullable=False),
        sa.Column("user", _bytewise(), nullable=False),
        sa.Column("device", _bytewise(), nullable=True),
        sa.Column("platform", _bytewise(), nullable=True),
        sa.Column("name", _bytewise(), nullable=True),
        sa.Column("provider", _bytewise(), nullable=True),
        sa.Column("audience", _bytewise(), nullable=True),
        sa.Column("address", _bytewise(), nullable=True),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("created_at", _number(), server_default=sa.text("0"), nullable=False),
        sa.Column("seen_at", _number(), server_default=sa.text("0"), nullable=False),
        sa.Column("expires_at", _number(), server_default=sa.text("0"), nullable=False),
        sa.Column("ends_at", _number(), nullable=True),
        sa.Column("ended_at", _number(), nullable=True),
        sa.Column("ended_by", _bytewise(), nullable=True),
        sa.PrimaryKeyConstraint("login"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "chat_token_new",
        sa.Column("token", _bytewise(), nullable=False),
        sa.Column("login", _bytewise(), nullable=False),
        sa.Column("issued_at", _number(), server_default=sa.text("0"), nullable=False),
        sa.Column("expires_at", _number(), server_default=sa.text("0"), nullable=False),
        sa.Column("used_at", _number(), nullable=True),
        sa.Column("replaced_by", _bytewise(), nullable=True),
        sa.PrimaryKeyConstraint("token"),
        sqlite_with_rowid=False,
    )
    op.execute(
        'INSERT INTO chat_login (login, "user", device, platform, name, created_at, seen_at, expires_at) '
        'SELECT t.family, t."user", MAX(t.device), MAX(d.platform), MAX(d.name), MIN(t.created_at), '
        "COALESCE(MAX(d.seen_at), MAX(t.created_at)), MAX(t.expires_at) "
        'FROM chat_token t LEFT JOIN chat_device d ON d."user" = t."user" AND d.device = t.device '
        'GROUP BY t.family, t."user" HAVING COUNT(t.revoked_at) = 0'
    )
    op.execute(
        "INSERT INTO chat_token_new (token, login, issued_at, expires_at) "
        "SELECT token, family, created_at, expires_at FROM chat_token "
        "WHERE family IN (SELECT login FROM chat_login)"
    )
    op.drop_table("chat_token")
    op.drop_table("chat_device")
    op.rename_table("chat_token_new", "chat_token")
    op.create_index("chat_login_user", "chat_login", ["user"], unique=False)
    op.create_index("chat_login_ended", "chat_login", ["ended_at"], unique=False)
    op.create_index("chat_login_expires", "chat_login", ["expires_at"], unique=False)
    op.create_index("chat_token_login", "chat_token", ["login"], unique=False)
    op.create_index("chat_token_expires", "chat_token", ["expires_at"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("restore a backup: tokens of before cannot be made again")
