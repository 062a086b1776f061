"""What a member saw when he left; who may invite, who is barred; quotes by number; parts of names; names to restamp."""

import sqlalchemy as sa
from alembic import op

revision = "server_0005"
down_revision = "server_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    dialect = op.get_context().dialect.name

    op.add_column("chat_conversation", sa.Column("invites", bytewise, server_default="members", nullable=False))
    op.add_column("chat_member", sa.Column("end_name", bytewise, nullable=True))
    op.add_column("chat_member", sa.Column("end_avatar", bytewise, nullable=True))
    op.add_column("chat_member", sa.Column("invited_by", bytewise, nullable=True))
    op.add_column("chat_member", sa.Column("barred", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index(
        "chat_member_left",
        "chat_member",
        ["conversation", "to_seq"],
        unique=False,
        sqlite_where=sa.text("to_seq IS NOT NULL"),
        postgresql_where=sa.text("to_seq IS NOT NULL"),
    )
    op.add_column("chat_user", sa.Column("rename_day", number, server_default=sa.text("0"), nullable=False))
    op.add_column("chat_user", sa.Column("renames", number, server_default=sa.text("0"), nullable=False))
    op.create_table(
        "chat_former",
        sa.Column("conversation", bytewise, nullable=False),
        sa.Column("seq", number, autoincrement=False, nullable=False),
        sa.Column("until", number, autoincrement=False, nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("edited_at", number, nullable=True),
        sa.PrimaryKeyConstraint("conversation", "seq", "until"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "chat_name_part",
        sa.Column("part", bytewise, nullable=False),
        sa.Column("user", bytewise, nullable=False),
        sa.PrimaryKeyConstraint("part", "user"),
        sqlite_with_rowid=False,
    )
    op.create_index("chat_name_part_user", "chat_name_part", ["user"], unique=False)
    op.create_table(
        "chat_restamp",
        sa.Column("user", bytewise, nullable=False),
        sa.Column("step", bytewise, nullable=False),
        sa.Column("after", bytewise, nullable=False),
        sa.PrimaryKeyConstraint("user"),
        sqlite_with_rowid=False,
    )

    # A quote holds the number alone from now on: the text that it copied would outlive a recall.
    number_of = "json_extract(reply, '$.seq')" if dialect == "sqlite" else "reply::json ->> 'seq'"
    op.execute(sa.text(f"UPDATE chat_message SET reply = {number_of} WHERE reply IS NOT NULL"))
    op.execute(
        sa.text(
            "UPDATE chat_member SET end_name = (SELECT name FROM chat_conversation c "
            "WHERE c.conversation = chat_member.conversation), end_avatar = (SELECT avatar FROM chat_conversation c "
            "WHERE c.conversation = chat_member.conversation) WHERE to_seq IS NOT NULL"
        )
    )


def downgrade() -> None:
    op.drop_table("chat_restamp")
    op.drop_index("chat_name_part_user", "chat_name_part")
    op.drop_table("chat_name_part")
    op.drop_table("chat_former")
    op.drop_column("chat_user", "renames")
    op.drop_column("chat_user", "rename_day")
    op.drop_index("chat_member_left", "chat_member")
    for column in ("barred", "invited_by", "end_avatar", "end_name"):
        op.drop_column("chat_member", column)
    op.drop_column("chat_conversation", "invites")
