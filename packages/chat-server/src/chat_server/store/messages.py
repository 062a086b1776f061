"""The rows of new messages: one place that writes them, and their pushes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define
from chat_common import wire
from chat_common.records import Push
from msgspec import UNSET
from sqlalchemy import Connection

from chat_server.store import views
from chat_server.store.schema import message
from chat_server.store.statements import CompiledStatement

_COLUMNS = (
    "conversation",
    "seq",
    "rev",
    "first_rev",
    "sender",
    "ref",
    "hash",
    "kind",
    "body",
    "time",
    "reply",
    "mentions",
)
_WRITE = CompiledStatement(message.insert(), *_COLUMNS)


@define(kw_only=True)
class NewMessage:
    """A message that has its numbers. ``body`` as clients get it, ``stored_body`` the same as JSON text."""

    conversation: str
    seq: int
    rev: int
    sender: str
    ref: str
    digest: bytes
    kind: str
    body: Any
    stored_body: str
    time: int
    quote: wire.Quote | None = None
    mentions: list[str] | None = None

    def push(self) -> Push:
        """The push of it, to everybody who may see it."""
        record = wire.Message(
            conversation=self.conversation,
            seq=self.seq,
            rev=self.rev,
            sender=self.sender,
            ref=self.ref,
            kind=self.kind,
            time=self.time,
            body=self.body,
            reply_to=UNSET if self.quote is None else self.quote,
            mentions=UNSET if self.mentions is None else self.mentions,
        )
        return Push("message", record, self.conversation, self.rev, self.rev - 1, self.seq)


def write_messages(connection: Connection, messages: Sequence[NewMessage]) -> None:
    """Insert these messages, in one call of the driver."""
    _WRITE.many(
        connection,
        [
            (
                made.conversation,
                made.seq,
                made.rev,
                made.rev,
                made.sender,
                made.ref,
                made.digest,
                made.kind,
                made.stored_body,
                made.time,
                None if made.quote is None else str(made.quote.seq),
                None if made.mentions is None else views.as_json(made.mentions),
            )
            for made in messages
        ],
    )
