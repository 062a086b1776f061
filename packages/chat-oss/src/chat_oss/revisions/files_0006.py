"""The files of one user."""

from alembic import op

revision = "files_0006"
down_revision = "files_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("chat_file_user", "chat_file", ["user", "file"], unique=False)


def downgrade() -> None:
    op.drop_index("chat_file_user", "chat_file")
