"""Which shards this relay owns, and for how long it may be sure of that."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from chat_common.clock import Clock

from chat_transaction.sql.fencing import Fence
from chat_transaction.sql.leases import Leases, Renewal
from chat_transaction.sql.registry import Capabilities


class Ownership:
    """``fences``: shard → fencing number of all that is owned: rows of these may be run, and settled.
    ``open``: those of them of which rows are handed over. A shard that is to be given back is owned until the last of
    its rows in flight is handled; it is only not open any more."""

    def __init__(self, leases: Leases, clock: Clock) -> None:
        self.fences: Mapping[int, int] = {}
        self.open: Mapping[int, int] = {}
        self.alone = True
        """No other relay was alive at the last renewal."""
        self._leases = leases
        self._clock = clock
        self._deadline = 0.0

    def fence(self) -> Fence | None:
        """Under which rows may be run now; None: this process has slept for so long that its shards may be another
        relay's."""
        return None if self._clock.monotonic() > self._deadline else Fence(self.fences)

    def releasable(self, busy: Collection[int]) -> list[int]:
        """The shards that can be given back: they are closed, and no row of them is in flight (``busy``)."""
        return [shard for shard in self.fences if shard not in self.open and shard not in busy]

    async def renew(self, capabilities: Capabilities, releasing: Collection[int]) -> Renewal:
        """Ask for the leases. It counts once `adopt` is called: what the new shards need is read in between."""
        return await self._leases.renew(capabilities, releasing)

    def lost(self, renewal: Renewal) -> list[int]:
        """What was owned and is not, or was another relay's in between (its fence has grown)."""
        return [shard for shard, fence in self.fences.items() if renewal.fences.get(shard) != fence]

    def gains(self, renewal: Renewal) -> bool:
        """Whether rows of more shards can be handed over after `adopt`."""
        return any(self.open.get(shard) != fence for shard, fence in renewal.open.items())

    def adopt(self, renewal: Renewal) -> None:
        self.fences, self.open, self._deadline = renewal.fences, renewal.open, renewal.deadline
        self.alone = len(renewal.live) < 2

    def lose(self, shards: Collection[int]) -> None:
        self.fences = {shard: fence for shard, fence in self.fences.items() if shard not in shards}
        self.open = {shard: fence for shard, fence in self.open.items() if shard not in shards}

    async def give_back(self) -> None:
        """Release everything: the next relay need not wait for the leases to end."""
        await self._leases.give_back()
