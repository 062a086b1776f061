"""The tables. Words are those of the delivery page: ``seq``, ``rev``, ``version``, ``epoch``, spans.

One row a membership (`member`) holds both what all members see of it and what only its user sees (the inbox):
fan-out then touches neighbouring rows. Texts compare byte for byte on every database.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.schema import SchemaItem

metadata = MetaData()

Bytewise = Text().with_variant(Text(collation="C"), "postgresql")
Number = BigInteger().with_variant(Integer(), "sqlite")


def _table(name: str, *columns: SchemaItem) -> Table[Any]:
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


def _id(name: str, **options: object) -> Column[str]:
    return Column(name, Bytewise, nullable=bool(options.pop("nullable", False)), **options)  # type: ignore[arg-type]


def _number(name: str, default: int | None = 0) -> Column[int]:
    if default is None:
        return Column(name, Number, nullable=True)
    return Column(name, Number, nullable=False, server_default=text(str(default)))


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=false())


meta = _table("chat_meta", _id("key", primary_key=True), Column("value", Bytewise, nullable=False))

user = _table(
    "chat_user",
    _id("user", primary_key=True),
    Column("name", Bytewise, nullable=False),
    Column("folded", Bytewise, nullable=False),
    Column("avatar", Bytewise),
    Column("badge", Text),
    _number("created_at"),
    _number("version"),
    _number("rename_day"),
    _number("renames"),
    Column("role", Bytewise, nullable=False, server_default="user"),
    _number("deleted_at", None),
    _number("items_version"),
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

deletion = _table(
    "chat_deletion",
    _id("user", primary_key=True),
    _flag("messages"),
    Column("step", Bytewise, nullable=False),
    Column("after", Bytewise, nullable=False),
    _number("begun_at"),
)
"""Accounts that were deleted and whose traces have not all gone yet: how far that has come, see
`chat_server.admin.deletion`. ``messages``: what they have said goes as well."""

item = _table(
    "chat_item",
    _id("key", primary_key=True),
    _id("user"),
    _id("item"),
    Column("source", Bytewise, nullable=False),
    Column("once", Bytewise, unique=True),
    _number("granted_at"),
    _number("spent_at", None),
    Column("spent_on", Bytewise),
    _number("version"),
    Index("chat_item_version", "user", "version"),
)
"""What users were given, one row a piece. ``key``: what it was given for; a second grant under it finds this row.
``once``: ``user:item`` of what one user owns once. ``spent_on``: the ref of the request that used it up."""

name_part = _table(
    "chat_name_part",
    _id("part", primary_key=True),
    _id("user", primary_key=True),
    Index("chat_name_part_user", "user"),
)
"""Where search may begin in a folded name: the rest of it from each word, and from each Chinese, Japanese or Korean
character."""

restamp = _table("chat_restamp", _id("user", primary_key=True), Column("step", Bytewise, nullable=False), _id("after"))
"""Users whose name has changed and does not stand everywhere yet: how far the stamping has come."""

version = _table("chat_version", _id("user", primary_key=True), _number("version"))
"""The newest version of each user."""

identity = _table(
    "chat_identity",
    _id("provider", primary_key=True),
    _id("subject", primary_key=True),
    _id("user"),
    Column("secret", Text),
    Index("chat_identity_user", "user"),
)

conversation = _table(
    "chat_conversation",
    _id("conversation", primary_key=True),
    Column("kind", Bytewise, nullable=False),
    Column("name", Bytewise),
    Column("avatar", Bytewise),
    Column("announcement", Text),
    Column("direct_key", Bytewise, unique=True),
    Column("link", Bytewise, unique=True),
    _number("created_at"),
    _number("members"),
    _number("head_seq"),
    _number("head_rev"),
    _number("head_time"),
    Column("preview", Text),
    _number("changed_rev"),
    _number("first_kept", 1),
    _number("all_seq"),
    _number("muted_until", None),
    Column("invites", Bytewise, nullable=False, server_default="members"),
    _flag("dissolved"),
    _flag("hot"),
    _number("touched_at"),
    _number("hot_at"),
    Index("chat_conversation_touched", "touched_at"),
    Index("chat_conversation_hot_at", "hot_at"),
    Index("chat_conversation_hot", "hot", "conversation"),
)
"""``changed_rev``: the stamp of this row's own fields. ``all_seq``: the newest mention of everybody.
``touched_at``: ms of the newest stamp, for the sweeper. ``hot_at``: ms at which it last turned hot, for the check.
``first_kept``: what lies before it was deleted."""

fanned = _table("chat_fanned", _id("conversation", primary_key=True), _number("rev"))
"""How far fan-out has come: forward only, written coalesced."""

member = _table(
    "chat_member",
    _id("conversation", primary_key=True),
    _id("user", primary_key=True),
    Column("role", Bytewise, nullable=False),
    _number("from_seq", 1),
    _number("to_seq", None),
    Column("earlier", Text),
    _number("joined_at"),
    _number("muted_until", None),
    _flag("silenced"),
    _flag("barred"),
    Column("invited_by", Bytewise),
    Column("end_name", Bytewise),
    Column("end_avatar", Bytewise),
    _number("rev"),
    _number("version"),
    _number("activity"),
    _number("diffused"),
    _number("read_seq"),
    _number("own_seq"),
    _number("mention_seq"),
    _flag("muted"),
    _flag("pinned"),
    _flag("hidden"),
    Index("chat_member_rev", "conversation", "rev"),
    Index("chat_member_version", "user", "version"),
    Index("chat_member_activity", "user", "activity", "conversation"),
    Index("chat_member_hidden", "hidden", "conversation"),
    Index("chat_member_left", "conversation", "to_seq"),
)
"""``from_seq``/``to_seq``: the newest span, ``earlier``: JSON of the closed ones before. ``silenced``: the other one
of a direct chat has blocked this one. ``rev``: stamp of the public half, ``version``: of the private one.
``diffused``: the conversation's rev that the inbox half has taken in. ``barred``: was put out, and comes back only by
an owner's or admin's invitation. ``invited_by``: by whom, while the role is ``pending``. ``end_name``, ``end_avatar``:
the group's, when this one left.

``chat_member_left`` is partial: ``to_seq IS NOT NULL``. The revision says so; said here with ``postgresql_where`` it
would make every start import PostgreSQL's dialect, 50 ms.
"""

message = _table(
    "chat_message",
    _id("conversation", primary_key=True),
    Column("seq", Number, primary_key=True, autoincrement=False),
    _number("rev"),
    _number("first_rev"),
    _id("sender"),
    _id("ref"),
    Column("hash", LargeBinary, nullable=False),
    Column("kind", Bytewise, nullable=False),
    Column("body", Text),
    _number("time"),
    Column("reply", Text),
    Column("mentions", Text),
    _number("edited_at", None),
    Column("recalled", Text),
    Column("reactions", Text),
    UniqueConstraint("ref", "sender", name="chat_message_ref"),
    Index("chat_message_rev", "conversation", "rev"),
)
"""``rev``: the newest stamp; ``first_rev``: the one of its receipt, which a repeated ref gets again."""

former = _table(
    "chat_former",
    _id("conversation", primary_key=True),
    Column("seq", Number, primary_key=True, autoincrement=False),
    Column("until", Number, primary_key=True, autoincrement=False),
    Column("body", Text),
    _number("edited_at", None),
)
"""What an edited message said before the rev ``until``, for those who had left by then. A recall deletes it."""

reaction = _table(
    "chat_reaction",
    _id("conversation", primary_key=True),
    Column("seq", Number, primary_key=True, autoincrement=False),
    _id("emoji", primary_key=True),
    _id("user", primary_key=True),
    _number("time"),
)

reply = _table(
    "chat_reply",
    _id("user", primary_key=True),
    _id("ref", primary_key=True),
    Column("hash", LargeBinary, nullable=False),
    Column("result", LargeBinary, nullable=False),
    _number("expires_at"),
    Index("chat_reply_expires", "expires_at"),
)

contact = _table(
    "chat_contact",
    _id("user", primary_key=True),
    _id("other", primary_key=True),
    Column("state", Bytewise, nullable=False),
    Column("asked_by", Bytewise),
    Column("text", Text),
    _flag("blocked"),
    _number("version"),
    Index("chat_contact_version", "user", "version"),
    Index("chat_contact_other", "other", "user"),
)

login = _table(
    "chat_login",
    _id("login", primary_key=True),
    _id("user"),
    _id("device", nullable=True),
    Column("platform", Bytewise),
    Column("name", Bytewise),
    Column("provider", Bytewise),
    Column("audience", Bytewise),
    Column("address", Bytewise),
    Column("region", Text),
    _number("created_at"),
    _number("seen_at"),
    _number("expires_at"),
    _number("ends_at", None),
    _number("ended_at", None),
    Column("ended_by", Bytewise),
    Index("chat_login_user", "user"),
    Index("chat_login_ended", "ended_at"),
    Index("chat_login_expires", "expires_at"),
)
"""Who has come in, on which device: a family of tokens. It lives while ``ended_at`` is null and ``expires_at``, the end
of its newest token, lies ahead. ``ends_at``: its absolute end. ``provider``: how the person was proven. ``audience``:
``phone`` for a phone that is remembered to confirm logins, null for what a client uses."""

token = _table(
    "chat_token",
    _id("token", primary_key=True),
    _id("login"),
    _number("issued_at"),
    _number("expires_at"),
    _number("used_at", None),
    _id("replaced_by", nullable=True),
    Index("chat_token_login", "login"),
    Index("chat_token_expires", "expires_at"),
)
"""``used_at``: when a renewed token was first used, which retires the one before it. ``replaced_by``: its renewal."""

ban = _table(
    "chat_ban",
    _id("user", primary_key=True),
    _number("until", None),
    Column("reason", Text),
)

push_address = _table(
    "chat_push_address",
    _id("user", primary_key=True),
    _id("login", primary_key=True),
    Column("provider", Bytewise, nullable=False),
    Column("address", Text, nullable=False),
    _number("subscribed_at"),
)
"""One a login, and it ends with the login, in the same transaction. ``address``: JSON, a secret of the device."""

lease = _table(
    "chat_lease",
    _id("name", primary_key=True),
    Column("holder", Bytewise, nullable=False, server_default=""),
    _number("fence"),
    _number("until"),
)
"""Work that one of several servers does, see `chat_server.store.leases`. ``until``: ms by the database's clock."""

push_due = _table(
    "chat_push_due",
    _id("user", primary_key=True),
    _id("conversation", primary_key=True),
    _number("first_seq"),
    _number("last_seq"),
    _number("due_at"),
    Index("chat_push_due_at", "due_at"),
)

audit = _table(
    "chat_audit",
    Column("time", Number, primary_key=True, autoincrement=False),
    _id("entry", primary_key=True),
    Column("actor", Bytewise, nullable=False),
    Column("act", Bytewise, nullable=False),
    _id("subject"),
    Column("details", Text),
    Index("chat_audit_subject", "subject", "time"),
    Index("chat_audit_act", "act", "time"),
)
"""Who did what to whom, see `chat_server.store.audit`. ``details``: JSON, never what people wrote."""

invite = _table(
    "chat_invite",
    _id("invite", primary_key=True),
    Column("digest", Bytewise, nullable=False, unique=True),
    Column("note", Text),
    Column("made_by", Bytewise, nullable=False),
    _number("created_at"),
    _number("expires_at"),
    _id("used_by", nullable=True),
    Column("role", Bytewise, nullable=False, server_default="user"),
)
"""``digest``: of the code, which is kept nowhere. ``used_by``: the user who was made with it. ``role``: what that user
becomes."""

report = _table(
    "chat_report",
    _id("report", primary_key=True),
    _id("reporter"),
    _id("about"),
    _id("conversation"),
    _number("seq"),
    Column("category", Bytewise, nullable=False),
    Column("reason", Text),
    _number("created_at"),
    _number("closed_at", None),
    Column("closed_by", Bytewise),
    Column("outcome", Bytewise),
    Column("note", Text),
    UniqueConstraint("reporter", "conversation", "seq", "about", name="chat_report_once"),
    Index("chat_report_closed", "closed_at", "created_at", "report"),
    Index("chat_report_reporter", "reporter", "created_at"),
    Index("chat_report_message", "conversation", "seq"),
    Index("chat_report_about", "about", "created_at"),
)
"""What users, and lists of words, ask admins to look at; see `chat_server.store.reports`. ``conversation`` is empty
and ``seq`` 0 where it is about the user and no message. It holds no text of the message."""
