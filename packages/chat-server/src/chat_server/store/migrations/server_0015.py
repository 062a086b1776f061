"""Conversations that somebody has marked as unread."""

import sqlalchemy as sa
from alembic import op

revision = "server_0015"
down_revision = "server_0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("chat_member", sa.Column("marked", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("chat_member", "marked")
