"""A ledger over several nodes that also notes how long messages took."""

from __future__ import annotations

import time
from collections.abc import Sequence

from attrs import define, field
from chat_common.wire import Message

from tests.faults.ledger import Ledger


@define
class TimedLedger(Ledger):
    """Notes the seconds from a message's being sent to each client's being told of it, by conversation."""

    clock: dict[tuple[str, str], float] = field(factory=dict)
    waits: dict[str, list[float]] = field(factory=dict)

    def send(self, user: str, ref: str, conversation: str, text: str) -> None:
        self.clock.setdefault((user, ref), time.monotonic())
        Ledger.send(self, user, ref, conversation, text)

    def hear(self, client: str, message: Message) -> None:
        began = self.clock.get((message.sender, message.ref or ""))
        if began is not None:
            self.waits.setdefault(message.conversation, []).append(time.monotonic() - began)
        Ledger.hear(self, client, message)


def summary(waits: Sequence[float]) -> str:
    """Half, 99 % and all of these were shorter, in seconds."""
    ordered = sorted(waits) or [0.0]
    half, most = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return f"{len(ordered)} waits: p50 {half:.3f} s, p99 {most:.3f} s, longest {ordered[-1]:.3f} s"
