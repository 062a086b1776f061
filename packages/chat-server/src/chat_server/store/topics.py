"""The outbox rows that announce changes: which stamps of which conversation, which versions of which user."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from attrs import frozen
from chat_common.decoding import prepare
from chat_common.ports.outbox import Outbox, OutboxEntry
from chat_common.records import Push
from sqlalchemy import Connection

from chat_server.store.writer import after_commit

STORED = "stored"
CHANGED = "changed"


@frozen
class Stored:
    """Payload of the topic ``stored``: which revs of which conversation are new. Rows are named, never carried."""

    conversation: str
    first: int
    last: int


@frozen
class Changed:
    """Payload of the topic ``changed``: which versions of whom are new."""

    user: str
    first: int
    last: int


prepare(Stored, Changed)


def stored_entry(name: str, first: int, last: int, pushes: Sequence[Push]) -> OutboxEntry:
    """One outbox row for all that one transaction stamped in a conversation; the pushes are its inline payload."""
    return OutboxEntry(STORED, name, msgspec.json.encode(Stored(name, first, last)), inline=pushes or None)


def changed_entry(user: str, versions: Sequence[int]) -> OutboxEntry:
    """One outbox row for all versions of one user that one transaction took."""
    return OutboxEntry(CHANGED, user, msgspec.json.encode(Changed(user, min(versions), max(versions))))


def announce(connection: Connection, outbox: Outbox, entries: Sequence[OutboxEntry]) -> None:
    """Write outbox rows and hand them over at once after the commit."""
    if entries:
        tokens = outbox.write(connection, entries)
        after_commit(connection, lambda: outbox.committed(tokens))
