"""The tables of accounts: who may come in, who has, and what admins did and were asked."""

from __future__ import annotations

from sqlalchemy import Column, Index, Text, UniqueConstraint

from chat_server.store.columns import Bytewise, Number, flag, identifier, number, table

deletion = table(
    "chat_deletion",
    identifier("user", primary_key=True),
    flag("messages"),
    Column("step", Bytewise, nullable=False),
    Column("after", Bytewise, nullable=False),
    number("begun_at"),
)
"""Accounts that were deleted and whose traces have not all gone yet: how far that has come, see
`chat_server.admin.deletion`. ``messages``: what they have said goes as well."""

identity = table(
    "chat_identity",
    identifier("provider", primary_key=True),
    identifier("subject", primary_key=True),
    identifier("user"),
    Column("secret", Text),
    Index("chat_identity_user", "user"),
)

login = table(
    "chat_login",
    identifier("login", primary_key=True),
    identifier("user"),
    identifier("device", nullable=True),
    Column("platform", Bytewise),
    Column("name", Bytewise),
    Column("provider", Bytewise),
    Column("audience", Bytewise),
    Column("address", Bytewise),
    Column("region", Text),
    number("created_at"),
    number("seen_at"),
    number("expires_at"),
    number("ends_at", None),
    number("ended_at", None),
    Column("ended_by", Bytewise),
    Index("chat_login_user", "user"),
    Index("chat_login_ended", "ended_at"),
    Index("chat_login_expires", "expires_at"),
)
"""Who has come in, on which device: a family of tokens. It lives while ``ended_at`` is null and ``expires_at``, the end
of its newest token, lies ahead. ``ends_at``: its absolute end. ``provider``: how the person was proven. ``audience``:
``phone`` for a phone that is remembered to confirm logins, null for what a client uses."""

token = table(
    "chat_token",
    identifier("token", primary_key=True),
    identifier("login"),
    number("issued_at"),
    number("expires_at"),
    number("used_at", None),
    identifier("replaced_by", nullable=True),
    Index("chat_token_login", "login"),
    Index("chat_token_expires", "expires_at"),
)
"""``used_at``: when a renewed token was first used, which retires the one before it. ``replaced_by``: its renewal."""

ban = table(
    "chat_ban",
    identifier("user", primary_key=True),
    number("until", None),
    Column("reason", Text),
)

push_address = table(
    "chat_push_address",
    identifier("user", primary_key=True),
    identifier("login", primary_key=True),
    Column("provider", Bytewise, nullable=False),
    Column("address", Text, nullable=False),
    number("subscribed_at"),
)
"""One a login, and it ends with the login, in the same transaction. ``address``: JSON, a secret of the device."""

audit = table(
    "chat_audit",
    Column("time", Number, primary_key=True, autoincrement=False),
    identifier("entry", primary_key=True),
    Column("actor", Bytewise, nullable=False),
    Column("act", Bytewise, nullable=False),
    identifier("subject"),
    Column("details", Text),
    Index("chat_audit_subject", "subject", "time"),
    Index("chat_audit_act", "act", "time"),
)
"""Who did what to whom, see `chat_server.store.audit`. ``details``: JSON, never what people wrote."""

invite = table(
    "chat_invite",
    identifier("invite", primary_key=True),
    Column("digest", Bytewise, nullable=False, unique=True),
    Column("note", Text),
    Column("made_by", Bytewise, nullable=False),
    number("created_at"),
    number("expires_at"),
    identifier("used_by", nullable=True),
    Column("role", Bytewise, nullable=False, server_default="user"),
)
"""``digest``: of the code, which is kept nowhere. ``used_by``: the user who was made with it. ``role``: what that user
becomes."""

report = table(
    "chat_report",
    identifier("report", primary_key=True),
    identifier("reporter"),
    identifier("about"),
    identifier("conversation"),
    number("seq"),
    Column("category", Bytewise, nullable=False),
    Column("reason", Text),
    number("created_at"),
    number("closed_at", None),
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
