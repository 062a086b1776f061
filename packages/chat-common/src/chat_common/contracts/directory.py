"""What every `Directory` must hold: run each of `checks()` with an open directory (see `contracts.cache`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from uuid import uuid4

from chat_common.ports.directory import Directory, Seat

Elapse = Callable[[float], Awaitable[None]]
Check = Callable[[Directory, Elapse], Awaitable[None]]


def checks() -> Sequence[Check]:
    """All checks, in no order that matters."""
    return [
        seats_are_found_by_user,
        a_session_that_sits_down_again_moves,
        a_session_may_change_its_user,
        only_the_one_who_sat_down_gets_up,
        a_late_clean_up_leaves_the_new_seat,
        a_lease_ends,
        a_renewed_lease_goes_on,
        renewal_tells_what_is_unknown,
        another_boot_renews_nothing,
        nodes_are_those_with_seats,
        memory_grows_older,
    ]


def _seat(user: str, **fields: str) -> Seat:
    whole = {"device": "phone", "session": uuid4().hex, "node": f"n{uuid4().hex}", "boot": uuid4().hex, **fields}
    return Seat(user=user, **whole)


async def seats_are_found_by_user(directory: Directory, elapse: Elapse) -> None:
    anna, bert, nobody = uuid4().hex, uuid4().hex, uuid4().hex
    seats = [_seat(anna), _seat(anna, device="laptop"), _seat(bert)]
    for seat in seats:
        await directory.register(seat, lease=5)
    found = await directory.seats([anna, bert, nobody])
    assert set(found) == {anna, bert}
    assert set(found[anna]) == set(seats[:2])
    assert list(found[bert]) == seats[2:]
    assert not await directory.seats([])


async def a_session_that_sits_down_again_moves(directory: Directory, elapse: Elapse) -> None:
    user = uuid4().hex
    first = _seat(user)
    moved = _seat(user, session=first.session)
    await directory.register(first, lease=5)
    await directory.register(moved, lease=5)
    assert list((await directory.seats([user]))[user]) == [moved]


async def a_session_may_change_its_user(directory: Directory, elapse: Elapse) -> None:
    anna, bert = uuid4().hex, uuid4().hex
    first = _seat(anna)
    await directory.register(first, lease=5)
    await directory.register(_seat(bert, session=first.session), lease=5)
    assert set(await directory.seats([anna, bert])) == {bert}


async def only_the_one_who_sat_down_gets_up(directory: Directory, elapse: Elapse) -> None:
    user = uuid4().hex
    seat = _seat(user)
    await directory.register(seat, lease=5)
    for field in ("device", "node", "boot"):
        fields = {"device": seat.device, "session": seat.session, "node": seat.node, "boot": seat.boot, field: "other"}
        assert not await directory.unregister(Seat(user=user, **fields))
    assert list((await directory.seats([user]))[user]) == [seat]
    assert await directory.unregister(seat)
    assert not await directory.unregister(seat)
    assert not await directory.seats([user])


async def a_late_clean_up_leaves_the_new_seat(directory: Directory, elapse: Elapse) -> None:
    user = uuid4().hex
    old = _seat(user)
    new = _seat(user, session=old.session, node=old.node)
    await directory.register(old, lease=5)
    await directory.register(new, lease=5)
    assert not await directory.unregister(old)
    assert list((await directory.seats([user]))[user]) == [new]


async def a_lease_ends(directory: Directory, elapse: Elapse) -> None:
    user = uuid4().hex
    seat, longer = _seat(user), _seat(user)
    await directory.register(seat, lease=0.2)
    await directory.register(longer, lease=5)
    await elapse(0.3)
    assert list((await directory.seats([user]))[user]) == [longer]
    assert seat.node not in await directory.nodes()


async def a_renewed_lease_goes_on(directory: Directory, elapse: Elapse) -> None:
    user = uuid4().hex
    seat = _seat(user)
    await directory.register(seat, lease=0.4)
    await elapse(0.2)
    assert list(await directory.renew(seat.node, seat.boot, [seat.session], lease=0.4)) == []
    await elapse(0.3)
    assert list((await directory.seats([user]))[user]) == [seat]


async def renewal_tells_what_is_unknown(directory: Directory, elapse: Elapse) -> None:
    user = uuid4().hex
    seat = _seat(user)
    over = _seat(user, node=seat.node, boot=seat.boot)
    await directory.register(seat, lease=5)
    await directory.register(over, lease=0.2)
    await elapse(0.3)
    sessions = [seat.session, over.session, "never"]
    assert set(await directory.renew(seat.node, seat.boot, sessions, lease=5)) == {over.session, "never"}


async def another_boot_renews_nothing(directory: Directory, elapse: Elapse) -> None:
    seat = _seat(uuid4().hex)
    await directory.register(seat, lease=5)
    assert list(await directory.renew(seat.node, "another", [seat.session], lease=5)) == [seat.session]
    assert list(await directory.renew("another", seat.boot, [seat.session], lease=5)) == [seat.session]


async def nodes_are_those_with_seats(directory: Directory, elapse: Elapse) -> None:
    first, second = _seat(uuid4().hex), _seat(uuid4().hex)
    await directory.register(first, lease=5)
    await directory.register(second, lease=5)
    nodes = await directory.nodes()
    assert nodes[first.node] == first.boot
    assert nodes[second.node] == second.boot


async def memory_grows_older(directory: Directory, elapse: Elapse) -> None:
    before = await directory.known_since()
    assert before >= 0
    await elapse(0.2)
    assert await directory.known_since() >= before + 0.19
