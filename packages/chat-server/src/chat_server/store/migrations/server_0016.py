"""How long the messages of a group are kept: as the group itself says, and as an operator does."""

import sqlalchemy as sa
from alembic import op

revision = "server_0016"
down_revision = "server_0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("chat_conversation", sa.Column("own_days", number))
    op.add_column("chat_conversation", sa.Column("kept_days", number))


def downgrade() -> None:
    op.drop_column("chat_conversation", "kept_days")
    op.drop_column("chat_conversation", "own_days")
