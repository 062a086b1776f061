"""Find the conversations that turned hot since a node last asked."""

import sqlalchemy as sa
from alembic import op

revision = "server_0003"
down_revision = "server_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("chat_conversation", sa.Column("hot_at", number, server_default=sa.text("0"), nullable=False))
    op.create_index("chat_conversation_hot_at", "chat_conversation", ["hot_at"], unique=False)


def downgrade() -> None:
    op.drop_index("chat_conversation_hot_at", "chat_conversation")
    op.drop_column("chat_conversation", "hot_at")
