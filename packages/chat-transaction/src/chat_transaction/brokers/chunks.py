"""Records to publish, cut into chunks of so many bytes: the same for every broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chat_common.ports.broker import BrokerRecord, Refusal

Chunk = list[tuple[BrokerRecord, bytes]]
"""Records and how they are written, in order."""


def chunks(
    records: Sequence[BrokerRecord], encode: Callable[[BrokerRecord], bytes], limit: int
) -> tuple[list[Chunk], list[Refusal]]:
    """The records in order, in chunks of at most ``limit`` bytes, and those that alone are larger."""
    found: list[Chunk] = []
    refusals: list[Refusal] = []
    size = limit
    for record in records:
        encoded = encode(record)
        if len(encoded) > limit:
            refusals.append(Refusal(record, f"The record has {len(encoded)} bytes; at most {limit} are allowed."))
            continue
        size += len(encoded)
        if size > limit or not found:
            found.append([])
            size = len(encoded)
        found[-1].append((record, encoded))
    return found, refusals
