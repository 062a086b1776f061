from __future__ import annotations

from collections.abc import Collection

from chat_common.clock import ManualClock
from chat_transaction.relay.ownership import Ownership
from chat_transaction.sql.leases import Renewal
from chat_transaction.sql.registry import Capabilities


class Leases:
    """Answers what it is told to."""

    def __init__(self) -> None:
        self.next = Renewal({}, frozenset(), 0.0, {})

    async def renew(self, capabilities: Capabilities, releasing: Collection[int] = ()) -> Renewal:
        return self.next

    async def give_back(self) -> None: ...


def ownership() -> tuple[Ownership, Leases, ManualClock]:
    clock, leases = ManualClock(), Leases()
    return Ownership(leases, clock), leases, clock  # type: ignore[arg-type]


def renewal(clock: ManualClock, fences: dict[int, int], surplus: Collection[int] = ()) -> Renewal:
    live = {"me": Capabilities()}
    return Renewal(fences, frozenset(surplus), clock.monotonic() + 10, live)


async def adopted(owned: Ownership, leases: Leases, found: Renewal) -> Renewal:
    leases.next = found
    renewed = await owned.renew(Capabilities(), ())
    owned.adopt(renewed)
    return renewed


async def test_a_surplus_shard_is_closed_owned_and_given_back_once_it_is_idle() -> None:
    owned, leases, clock = ownership()
    await adopted(owned, leases, renewal(clock, {1: 7, 2: 8}))
    assert owned.open == {1: 7, 2: 8}
    await adopted(owned, leases, renewal(clock, {1: 7, 2: 8}, surplus=[2]))
    assert owned.open == {1: 7}
    fence = owned.fence()
    assert fence is not None
    assert fence.fences == {1: 7, 2: 8}, "its rows in flight are run"
    assert owned.releasable(busy={2}) == []
    assert owned.releasable(busy={1}) == [2]


async def test_a_shard_with_another_fence_was_somebody_elses_meanwhile() -> None:
    owned, leases, clock = ownership()
    await adopted(owned, leases, renewal(clock, {1: 7, 2: 8}))
    found = renewal(clock, {1: 7, 2: 9, 3: 1})
    assert owned.lost(found) == [2]
    assert owned.gains(found)
    owned.lose([2])
    assert owned.fences == owned.open == {1: 7}
    owned.adopt(found)
    assert not owned.gains(found)
    assert owned.alone


async def test_after_its_deadline_nothing_is_sure() -> None:
    owned, leases, clock = ownership()
    assert owned.fence() is None or not owned.fences
    await adopted(owned, leases, renewal(clock, {1: 7}))
    clock.advance(10.5)
    assert owned.fence() is None
    owned.lose(range(64))
    found = renewal(clock, {1: 7})
    assert owned.lost(found) == [], "its rows were forgotten when the deadline passed"
    assert owned.gains(found), "so what was parked is read again"
