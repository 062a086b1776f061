"""A gateway of another node that does what a test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from attrs import define, field
from chat_common.errors import Unavailable
from chat_common.records import Push
from chat_server.services import CloseSessions, Delivery, EphemeralNote, Movements, SessionPush


@define(eq=False)
class FakeGateway:
    """``away``: it does not answer. ``gate``: it answers when that is set."""

    away: bool = False
    gate: asyncio.Event | None = None
    calls: list[list[Delivery]] = field(factory=list)
    misses: list[int] = field(factory=list)
    notes: list[EphemeralNote] = field(factory=list)
    closed: list[CloseSessions] = field(factory=list)
    here: set[str] = field(factory=set)
    movements: list[Movements] = field(factory=list)

    async def _answer(self) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise Unavailable("it does not answer")

    @property
    def delivered(self) -> list[Delivery]:
        return [delivery for call in self.calls for delivery in call]

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        await self._answer()
        self.calls.append(list(deliveries))

    async def tell(self, request: SessionPush) -> bool:
        await self._answer()
        return request.session in self.here

    async def note(self, request: EphemeralNote) -> None:
        await self._answer()
        self.notes.append(request)

    async def close(self, request: CloseSessions) -> int:
        await self._answer()
        self.closed.append(request)
        return 1

    async def online(self, users: Sequence[str]) -> Sequence[str]:
        await self._answer()
        return [user for user in users if user in self.here]

    async def moved(self, movements: Movements) -> None:
        await self._answer()
        self.movements.append(movements)

    async def missed(self, count: int) -> None:
        await self._answer()
        self.misses.append(count)


def to(*users: str, rev: int = 1, conversation: str = "c") -> Delivery:
    """A delivery to these users; without any, of a hot conversation."""
    push = Push("message", {"rev": rev}, conversation, rev, rev - 1, rev)
    return Delivery([push], {user: rev for user in users} if users else None, conversation, rev, rev)
