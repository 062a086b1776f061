"""Kept replies hold nothing that was said, so that what is recalled stands in none of them.

A reply that shows a message, or a conversation with the beginning of its newest message, is kept without that, and
filled from the store when its request is repeated: with what its caller may see by then.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from chat_common import wire
from chat_common.errors import NotFound
from msgspec import UNSET
from sqlalchemy import Connection, select

from chat_server.store import rights, views
from chat_server.store.schema import member, message


def without_words(reply: Any) -> Any:
    """The reply as it is kept."""
    if isinstance(reply, wire.Message):
        return evolve(reply, body=UNSET, reply_to=UNSET)
    if isinstance(reply, wire.Inbox):
        return evolve(reply, head=evolve(reply.head, preview=UNSET))
    return reply


def shown_again(connection: Connection, user: str, reply: Any, preview: views.Previewed) -> Any:
    """What is answered to ``user`` for the kept ``reply``; as it was kept where nothing can be seen any more."""
    if isinstance(reply, wire.Message):
        return _message(connection, user, reply, preview)
    if isinstance(reply, wire.Inbox):
        mine = member.c.user == user, member.c.conversation == reply.conversation
        rows = connection.execute(views.inbox_query().where(*mine)).all()
        return views.inbox_records(connection, rows, preview)[0] if rows else reply
    return reply


def _message(connection: Connection, user: str, kept: wire.Message, preview: views.Previewed) -> wire.Message:
    row = connection.execute(
        select(message).where(message.c.conversation == kept.conversation, message.c.seq == kept.seq)
    ).one_or_none()
    if row is None:
        return kept
    try:
        here = rights.standing(connection, user, kept.conversation, active=False)
    except NotFound:
        return kept
    if not rights.sees(here, kept.seq):
        return kept
    return views.message_records(connection, [row], preview, end_rev=rights.end_rev(here))[0]
