"""A push provider that keeps what it was told: for tests and for trying out."""

from __future__ import annotations

from collections.abc import Sequence

from chat_common.ports.push import Address, Notification, Outcome, PushProvider, Result


class MemoryPush(PushProvider):
    """`PushProvider`. ``answers`` holds outcomes to come by device, the next one first; without one a notification is
    delivered. ``sent`` holds what was delivered, as (device, notification), the newest ``kept`` of them."""

    def __init__(self, kept: int = 1_000) -> None:
        self.sent: list[tuple[str, Notification]] = []
        self.asked: list[str] = []
        self.answers: dict[str, list[Outcome]] = {}
        self._kept = kept

    async def send(self, notification: Notification, addresses: Sequence[Address]) -> Sequence[Outcome]:
        """See `PushProvider.send`."""
        return [self._one(notification, address) for address in addresses]

    def _one(self, notification: Notification, address: Address) -> Outcome:
        self.asked.append(address.device)
        waiting = self.answers.get(address.device)
        outcome = waiting.pop(0) if waiting else Outcome(Result.DELIVERED)
        if outcome.result is Result.DELIVERED:
            self.sent.append((address.device, notification))
        del self.sent[: -self._kept], self.asked[: -self._kept]
        return outcome
