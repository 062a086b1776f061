"""Records to publish, cut into portions of so many bytes: the same for every broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chat_common.ports.broker import BrokerRecord, Refusal

Portion = list[tuple[BrokerRecord, bytes]]
"""Records and how they are written, in order."""


def portions(
    records: Sequence[BrokerRecord], encode: Callable[[BrokerRecord], bytes], limit: int
) -> tuple[list[Portion], list[Refusal]]:
    """The records in order, in portions of at most ``limit`` bytes, and those that alone are larger."""
    found: list[Portion] = []
    refusals: list[Refusal] = []
    size = limit
    for record in records:
        encoded = encode(record)
        if len(encoded) > limit:
            refusals.append(Refusal(record, f"it has {len(encoded)} bytes; at most {limit} are allowed"))
            continue
        size += len(encoded)
        if size > limit or not found:
            found.append([])
            size = len(encoded)
        found[-1].append((record, encoded))
    return found, refusals
