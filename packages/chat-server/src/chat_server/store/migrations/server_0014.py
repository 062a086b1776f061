"""Search of messages: which message is which document, how far each conversation is indexed, and the words."""

import sqlalchemy as sa
from alembic import op

revision = "server_0014"
down_revision = "server_0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "chat_search",
        sa.Column("conversation", bytewise, nullable=False),
        sa.Column("seq", number, autoincrement=False, nullable=False),
        sa.Column("document", number, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("conversation", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_index("chat_search_document", "chat_search", ["document"], unique=True)
    op.create_table(
        "chat_searched",
        sa.Column("conversation", bytewise, nullable=False),
        sa.Column("rev", number, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("conversation"),
        sqlite_with_rowid=False,
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute("CREATE TABLE chat_search_words (document bigint PRIMARY KEY, words tsvector NOT NULL)")
        op.execute("CREATE INDEX chat_search_words_words ON chat_search_words USING gin (words)")
    elif op.get_context().as_sql or _has_fts5():
        op.execute(
            "CREATE VIRTUAL TABLE chat_search_words USING fts5(words, columnsize=0, prefix='1', "
            "tokenize=\"ascii tokenchars '@._-'\")"
        )


def _has_fts5() -> bool:
    return bool(op.get_bind().exec_driver_sql("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").all())


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS chat_search_words")
    op.drop_table("chat_searched")
    op.drop_table("chat_search")
