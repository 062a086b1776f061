"""What a relay writes on a record that goes through a broker, so that its consumers keep the order and confirm."""

from __future__ import annotations

from chat_common.ports.broker import BrokerRecord

ROW = "chat-row"
"""The number of the record's row in the outbox; it grows within a key."""
AFTER = "chat-after"
"""The number of the row before it in its key, if that was still in flight when this one was published."""
GROUPS = "chat-groups"
"""The groups that still want the record, comma separated."""


def row_of(record: BrokerRecord) -> int:
    """0: it did not come from an outbox, or not through a broker."""
    return int(record.headers.get(ROW, 0))


def after_of(record: BrokerRecord) -> int:
    """0: nothing was before it."""
    return int(record.headers.get(AFTER, 0))
