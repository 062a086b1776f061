"""What a text is written in, what was left in a picture, and how much each user keeps."""

import sqlalchemy as sa
from alembic import op

revision = "files_0005"
down_revision = "files_0004"
branch_labels = None
depends_on = None

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("chat_file", sa.Column("utf8", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("chat_file", sa.Column("unstripped", sa.Boolean(), server_default=sa.false(), nullable=False))
    # Nobody knows of the older ones; all were served as UTF-8, and most are.
    op.execute("UPDATE chat_file SET utf8 = true WHERE type LIKE 'text/%'")
    op.create_table(
        "chat_file_usage",
        sa.Column("user", _text, nullable=False),
        sa.Column("bytes", _number, nullable=False),
        sa.PrimaryKeyConstraint("user"),
        sqlite_with_rowid=False,
    )
    op.execute(
        'INSERT INTO chat_file_usage ("user", bytes) SELECT "user", '
        "SUM(CASE WHEN state = 'begun' THEN size ELSE stored_size END) FROM chat_file GROUP BY \"user\""
    )


def downgrade() -> None:
    op.drop_table("chat_file_usage")
    op.drop_column("chat_file", "unstripped")
    op.drop_column("chat_file", "utf8")
