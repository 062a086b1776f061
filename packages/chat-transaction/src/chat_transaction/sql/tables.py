"""The tables of the outbox. All names begin with ``chat_``; all times are milliseconds since 1970 UTC."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, SmallInteger, Table, Text

OWNER = "transaction"
REVISIONS = str(Path(__file__).parent.parent / "revisions")
SHARDS = 64
"""P: shard = hash(key) mod P. Fixed, so that every writer and relay of a database agrees on it."""

metadata = MetaData()

_id = BigInteger().with_variant(Integer, "sqlite")

outbox = Table(
    "chat_outbox",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("shard", SmallInteger, nullable=False),
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("parked", SmallInteger, nullable=False, server_default="0"),
    Column("error", Text),
    Column("groups", Text),
    sqlite_autoincrement=True,
)
"""One row an intent, deleted when all groups of its topic have handled it.

``groups`` (comma separated): only they want it (a replayed dead letter); null: all that are registered. ``parked``: 1
while every group that still wants it has parked it or is absent, so that nobody need look at it. ``attempts`` and
``error`` belong to the one group of a topic that has one group; others have theirs in `state`.
"""

leases = Table(
    "chat_outbox_lease",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("owner", Text),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("until", BigInteger, nullable=False, server_default="0"),
)
"""Who reads a shard until when; ``fence`` grows with every change of owner."""

relays = Table(
    "chat_outbox_relay",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("until", BigInteger, nullable=False),
    Column("abilities", Text, key="capabilities", nullable=False, server_default="[]"),
)
"""The live relays, which share the shards evenly. ``capabilities``: what each runs, as `registry.Capabilities` writes
it. The column keeps the name of the first release, so that relays of both can share a database."""

groups = Table(
    "chat_outbox_group",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("group", Text, primary_key=True),
    Column("seen_at", BigInteger, nullable=False),
)
"""The groups of each topic, from the first relay that ran one on: a row is done when all of them have handled it."""


class GroupState(IntEnum):
    """Where a group stands with a row. No entry: it has not handled it."""

    FAILING = 0
    DONE = 1
    PARKED = 2
    ABSENT = 3


state = Table(
    "chat_outbox_state",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("group", Text, primary_key=True),
    Column("state", SmallInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("reason", Text),
    Index("ix_chat_outbox_state_state", "state", "group"),
)
"""`GroupState` by row and group, where a topic has several groups or a key is parked. ``reason``: why it failed; of
what is parked, only the head of the key has one."""

dead_letters = Table(
    "chat_dead_letter",
    metadata,
    Column("id", _id, primary_key=True, autoincrement=True),
    Column("topic", Text, nullable=False),
    Column("group", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("buried_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""What a group gave up, with the last line of its traceback. Replayed for that group alone."""


inbox = Table(
    "chat_inbox",
    metadata,
    Column("group", Text, primary_key=True),
    Column("uid", Text, primary_key=True),
    Column("handled_at", BigInteger, nullable=False, index=True),
)
"""What a group has applied, written in the transaction of the effect: so the effect happens once."""


def create_tables(connection: Any) -> None:
    """Create what is missing (for use without a migration tool; `revisions` holds the same for alembic)."""
    metadata.create_all(connection)
