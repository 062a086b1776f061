"""How often an upload was found to be wrong; uploads in parts are written below ``upload/`` like all others."""

import sqlalchemy as sa
from alembic import op

revision = "files_0002"
down_revision = "files_0001"
branch_labels = None
depends_on = None

_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("chat_file", sa.Column("failures", _number, server_default=sa.text("0"), nullable=False))
    # Uploads in parts used to be written where they were to stay: begun ones begin again, finished ones are contents.
    op.execute("DELETE FROM chat_file WHERE state = 'begun' AND staging NOT LIKE 'upload/%'")
    op.execute("DELETE FROM chat_file_staging WHERE staging NOT LIKE 'upload/%'")
    op.execute("UPDATE chat_file_content SET checked = false")


def downgrade() -> None:
    op.drop_column("chat_file", "failures")
