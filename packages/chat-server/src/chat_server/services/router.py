"""What the router offers: where do they sit, and who is told while away?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from chat_server.services.gateway import CloseSessions, EphemeralNote, Movements, SessionPush


class RouterService(Protocol):
    """Where do they sit, and did it arrive?"""

    async def note(self, request: EphemeralNote) -> None:
        """A volatile note to its users wherever they sit."""
        ...

    async def close(self, request: CloseSessions) -> int:
        """End matching sessions on every node; a node that does not answer ends those whose login is over by itself,
        within a second or two."""
        ...

    async def tell(self, request: SessionPush) -> bool:
        """One push to one session on that node; False too when the node does not answer."""
        ...

    async def elsewhere(self, users: Sequence[str]) -> Sequence[str]:
        """Which of these users have a live socket on another node. `Unavailable` while the directory is away."""
        ...

    async def moved(self, movements: Movements) -> None:
        """Tell the other nodes who has come to this one, or left it. Does not wait for them."""
        ...


class PushService(Protocol):
    """Who is told while away?"""

    async def acknowledged(self, seqs: Mapping[str, Mapping[str, int]]) -> None:
        """Devices have acknowledged, user → conversation → seq: drops pending offline pushes."""
        ...
