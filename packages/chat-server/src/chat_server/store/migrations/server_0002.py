"""Find who has hidden a conversation, without looking at all of its members."""

from alembic import op

revision = "server_0002"
down_revision = "server_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("chat_member_hidden", "chat_member", ["hidden", "conversation"], unique=False)


def downgrade() -> None:
    op.drop_index("chat_member_hidden", "chat_member")
