"""The tables of users, conversations and messages. Words are those of the delivery page: ``seq``, ``rev``,
``version``, ``epoch``, spans.

One row a membership (`member`) holds both what all members see of it and what only its user sees (the inbox):
fan-out then touches neighbouring rows.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, Text, UniqueConstraint

from chat_server.store.columns import Bytewise, Number, flag, identifier, number, table

meta = table("chat_meta", identifier("key", primary_key=True), Column("value", Bytewise, nullable=False))

user = table(
    "chat_user",
    identifier("user", primary_key=True),
    Column("name", Bytewise, nullable=False),
    Column("folded", Bytewise, nullable=False),
    Column("avatar", Bytewise),
    Column("badge", Text),
    number("created_at"),
    number("version"),
    number("rename_day"),
    number("renames"),
    Column("role", Bytewise, nullable=False, server_default="user"),
    number("deleted_at", None),
    number("items_version"),
    Column("handle", Bytewise),
    Column("skeleton", Bytewise),
    Index("chat_user_folded", "folded", "user"),
    Index("chat_user_handle", "handle", unique=True),
    Index("chat_user_skeleton", "skeleton", unique=True),
)
"""``folded``: the name as search compares it. ``version``: when the profile changed, in its user's own count.
``renames``: how many there were on the day ``rename_day`` (since 1970). ``role``: ``user`` or ``admin``, who may call
``admin.*``. ``deleted_at``: the account is gone; the row stays for what others hold of it. ``items_version``: the
newest version of what is in the backpack, so that nobody looks in vain. ``handle``: the login name, ``skeleton``: what
it looks like; both are one user's alone (null: deleted, or older than handles with none yet)."""

item = table(
    "chat_item",
    identifier("key", primary_key=True),
    identifier("user"),
    identifier("item"),
    Column("source", Bytewise, nullable=False),
    Column("once", Bytewise, unique=True),
    number("granted_at"),
    number("spent_at", None),
    Column("spent_on", Bytewise),
    number("version"),
    Index("chat_item_version", "user", "version"),
)
"""What users were given, one row a piece. ``key``: what it was given for; a second grant under it finds this row.
``once``: ``user:item`` of what one user owns once. ``spent_on``: the ref of the request that used it up."""

name_part = table(
    "chat_name_part",
    identifier("part", primary_key=True),
    identifier("user", primary_key=True),
    Index("chat_name_part_user", "user"),
)
"""Where search may begin in a folded name: the rest of it from each word, and from each Chinese, Japanese or Korean
character."""

restamp = table(
    "chat_restamp", identifier("user", primary_key=True), Column("step", Bytewise, nullable=False), identifier("after")
)
"""Users whose name has changed and does not stand everywhere yet: how far the stamping has come."""

version = table("chat_version", identifier("user", primary_key=True), number("version"))
"""The newest version of each user."""

conversation = table(
    "chat_conversation",
    identifier("conversation", primary_key=True),
    Column("kind", Bytewise, nullable=False),
    Column("name", Bytewise),
    Column("avatar", Bytewise),
    Column("announcement", Text),
    Column("direct_key", Bytewise, unique=True),
    Column("link", Bytewise, unique=True),
    number("created_at"),
    number("members"),
    number("head_seq"),
    number("head_rev"),
    number("head_time"),
    Column("preview", Text),
    number("changed_rev"),
    number("first_kept", 1),
    number("own_days", None),
    number("kept_days", None),
    number("all_seq"),
    number("muted_until", None),
    Column("invites", Bytewise, nullable=False, server_default="members"),
    flag("dissolved"),
    flag("hot"),
    number("touched_at"),
    number("hot_at"),
    Index("chat_conversation_touched", "touched_at"),
    Index("chat_conversation_hot_at", "hot_at"),
    Index("chat_conversation_hot", "hot", "conversation"),
)
"""``changed_rev``: the stamp of this row's own fields. ``all_seq``: the newest mention of everybody.
``touched_at``: ms of the newest stamp, for the sweeper. ``hot_at``: ms at which it last turned hot, for the check.
``first_kept``: what lies before it was deleted. ``own_days``: for how long messages are kept, as the group has chosen;
``kept_days``: as an operator says of this group, 0: for ever (see `chat_server.store.retention`)."""

fanned = table("chat_fanned", identifier("conversation", primary_key=True), number("rev"))
"""How far fan-out has come: forward only, written coalesced."""

member = table(
    "chat_member",
    identifier("conversation", primary_key=True),
    identifier("user", primary_key=True),
    Column("role", Bytewise, nullable=False),
    number("from_seq", 1),
    number("to_seq", None),
    Column("earlier", Text),
    number("joined_at"),
    number("muted_until", None),
    flag("silenced"),
    flag("barred"),
    Column("invited_by", Bytewise),
    Column("end_name", Bytewise),
    Column("end_avatar", Bytewise),
    number("rev"),
    number("version"),
    number("activity"),
    number("diffused"),
    number("read_seq"),
    number("own_seq"),
    number("mention_seq"),
    flag("muted"),
    flag("pinned"),
    flag("marked"),
    flag("hidden"),
    Index("chat_member_rev", "conversation", "rev"),
    Index("chat_member_version", "user", "version"),
    Index("chat_member_activity", "user", "activity", "conversation"),
    Index("chat_member_hidden", "hidden", "conversation"),
    Index("chat_member_left", "conversation", "to_seq"),
)
"""``from_seq``/``to_seq``: the newest span, ``earlier``: JSON of the closed ones before. ``silenced``: the other one
of a direct chat has blocked this one. ``rev``: stamp of the public half, ``version``: of the private one.
``diffused``: the conversation's rev that the inbox half has taken in. ``barred``: was put out, and comes back only by
an owner's or admin's invitation. ``invited_by``: by whom, while the role is ``pending``. ``marked``: as
unread, by the user's own hand. ``end_name``, ``end_avatar``: the group's, when this one left.

``chat_member_left`` is partial: ``to_seq IS NOT NULL``. The revision says so; said here with ``postgresql_where`` it
would make every start import PostgreSQL's dialect, 50 ms.
"""

message = table(
    "chat_message",
    identifier("conversation", primary_key=True),
    Column("seq", Number, primary_key=True, autoincrement=False),
    number("rev"),
    number("first_rev"),
    identifier("sender"),
    identifier("ref"),
    Column("hash", LargeBinary, nullable=False),
    Column("kind", Bytewise, nullable=False),
    Column("body", Text),
    number("time"),
    Column("reply", Text),
    Column("mentions", Text),
    number("edited_at", None),
    Column("recalled", Text),
    Column("reactions", Text),
    UniqueConstraint("ref", "sender", name="chat_message_ref"),
    Index("chat_message_rev", "conversation", "rev"),
)
"""``rev``: the newest stamp; ``first_rev``: the one of its receipt, which a repeated ref gets again."""

former = table(
    "chat_former",
    identifier("conversation", primary_key=True),
    Column("seq", Number, primary_key=True, autoincrement=False),
    Column("until", Number, primary_key=True, autoincrement=False),
    Column("body", Text),
    number("edited_at", None),
)
"""What an edited message said before the rev ``until``, for those who had left by then. A recall deletes it."""

reaction = table(
    "chat_reaction",
    identifier("conversation", primary_key=True),
    Column("seq", Number, primary_key=True, autoincrement=False),
    identifier("emoji", primary_key=True),
    identifier("user", primary_key=True),
    number("time"),
)

reply = table(
    "chat_reply",
    identifier("user", primary_key=True),
    identifier("ref", primary_key=True),
    Column("hash", LargeBinary, nullable=False),
    Column("result", LargeBinary, nullable=False),
    number("expires_at"),
    Index("chat_reply_expires", "expires_at"),
)

contact = table(
    "chat_contact",
    identifier("user", primary_key=True),
    identifier("other", primary_key=True),
    Column("state", Bytewise, nullable=False),
    Column("asked_by", Bytewise),
    Column("text", Text),
    flag("blocked"),
    number("version"),
    Index("chat_contact_version", "user", "version"),
    Index("chat_contact_other", "other", "user"),
)

lease = table(
    "chat_lease",
    identifier("name", primary_key=True),
    Column("holder", Bytewise, nullable=False, server_default=""),
    number("fence"),
    number("until"),
)
"""Work that one of several servers does, see `chat_server.store.leases`. ``until``: ms by the database's clock."""

push_due = table(
    "chat_push_due",
    identifier("user", primary_key=True),
    identifier("conversation", primary_key=True),
    number("first_seq"),
    number("last_seq"),
    number("due_at"),
    Index("chat_push_due_at", "due_at"),
)

search = table(
    "chat_search",
    identifier("conversation", primary_key=True),
    Column("seq", Number, primary_key=True, autoincrement=False),
    number("document"),
    Index("chat_search_document", "document", unique=True),
)
"""Which message is which document of the index of messages. Their words stand in ``chat_search_words``, which each
engine has in its own shape: see the revision, and `chat_server.im.search.index`."""

searched = table("chat_searched", identifier("conversation", primary_key=True), number("rev"))
"""How far each conversation is indexed: all its messages stamped up to ``rev`` are, as they were then."""
