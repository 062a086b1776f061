"""Login names (handles), each unique by what it looks like; the role of who is invited.

Existing accounts get theirs at once; where the statements alone are wanted, the running server gives them.
"""

import sqlalchemy as sa
from alembic import op
from chat_server.store.first_handles import give_all

revision = "server_0011"
down_revision = "server_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("chat_user", sa.Column("handle", bytewise, nullable=True))
    op.add_column("chat_user", sa.Column("skeleton", bytewise, nullable=True))
    op.create_index("chat_user_handle", "chat_user", ["handle"], unique=True)
    op.create_index("chat_user_skeleton", "chat_user", ["skeleton"], unique=True)
    op.add_column("chat_invite", sa.Column("role", bytewise, server_default="user", nullable=False))
    if not op.get_context().as_sql:
        give_all(op.get_bind())


def downgrade() -> None:
    op.drop_column("chat_invite", "role")
    op.drop_index("chat_user_skeleton", "chat_user")
    op.drop_index("chat_user_handle", "chat_user")
    op.drop_column("chat_user", "skeleton")
    op.drop_column("chat_user", "handle")
