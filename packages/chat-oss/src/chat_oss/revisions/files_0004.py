"""What was called doomed is called unused."""

from alembic import op

revision = "files_0004"
down_revision = "files_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE chat_file_content RENAME COLUMN doomed TO unused")  # its indexes follow


def downgrade() -> None:
    op.execute("ALTER TABLE chat_file_content RENAME COLUMN unused TO doomed")
