"""What every `Directory` must hold: run each of `checks()` with an open directory (see `contracts.cache`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import uuid4

from chat_common.ports.directory import Directory, NodeRecord, Route

Elapse = Callable[[float], Awaitable[None]]
Check = Callable[[Directory, Elapse], Awaitable[None]]


def checks() -> Sequence[Check]:
    """All checks, in no order that matters."""
    return [
        routes_are_found_by_user,
        a_session_that_registers_again_moves,
        a_session_may_change_its_user,
        only_its_own_route_is_removed,
        a_late_clean_up_leaves_the_new_route,
        a_lease_ends,
        a_renewed_lease_goes_on,
        renewal_tells_what_is_unknown,
        another_boot_renews_nothing,
        nodes_are_those_that_are_announced,
        an_announcement_ends_with_its_lease,
        who_went_without_a_word_is_remembered_as_gone,
        a_later_start_takes_the_place_and_the_former_one_is_told,
        only_its_own_start_departs,
        what_was_asked_first_is_done_first,
        pages_of_any_size_are_taken,
        a_route_whose_lease_is_over_is_not_there_to_be_removed,
        memory_grows_older,
    ]


def _route(user: str, **fields: str) -> Route:
    whole = {"device": "phone", "session": uuid4().hex, "node": f"n{uuid4().hex}", "boot": uuid4().hex, **fields}
    return Route(user=user, **whole)


async def routes_are_found_by_user(directory: Directory, elapse: Elapse) -> None:
    anna, bert, nobody = uuid4().hex, uuid4().hex, uuid4().hex
    routes = [_route(anna), _route(anna, device="laptop"), _route(bert)]
    for route in routes:
        await directory.register(route, lease=5)
    found = await directory.routes([anna, bert, nobody])
    assert set(found) == {anna, bert}
    assert set(found[anna]) == set(routes[:2])
    assert list(found[bert]) == routes[2:]
    assert not await directory.routes([])


async def a_session_that_registers_again_moves(directory: Directory, elapse: Elapse) -> None:
    user = uuid4().hex
    first = _route(user)
    moved = _route(user, session=first.session)
    await directory.register(first, lease=5)
    await directory.register(moved, lease=5)
    assert list((await directory.routes([user]))[user]) == [moved]


async def a_session_may_change_its_user(directory: Directory, elapse: Elapse) -> None:
    anna, bert = uuid4().hex, uuid4().hex
    first = _route(anna)
    await directory.register(first, lease=5)
    await directory.register(_route(bert, session=first.session), lease=5)
    assert set(await directory.routes([anna, bert])) == {bert}


async def only_its_own_route_is_removed(directory: Directory, elapse: Elapse) -> None:
    user = uuid4().hex
    route = _route(user)
    await directory.register(route, lease=5)
    for field in ("device", "node", "boot"):
        same = {"device": route.device, "session": route.session, "node": route.node, "boot": route.boot}
        assert not await directory.unregister(Route(user=user, **{**same, field: "other"}))
    assert list((await directory.routes([user]))[user]) == [route]
    assert await directory.unregister(route)
    assert not await directory.unregister(route)
    assert not await directory.routes([user])


async def a_late_clean_up_leaves_the_new_route(directory: Directory, elapse: Elapse) -> None:
    user = uuid4().hex
    old = _route(user)
    new = _route(user, session=old.session, node=old.node)
    await directory.register(old, lease=5)
    await directory.register(new, lease=5)
    assert not await directory.unregister(old)
    assert list((await directory.routes([user]))[user]) == [new]


async def a_lease_ends(directory: Directory, elapse: Elapse) -> None:
    user = uuid4().hex
    route, longer = _route(user), _route(user)
    await directory.register(route, lease=0.2)
    await directory.register(longer, lease=5)
    await elapse(0.3)
    assert list((await directory.routes([user]))[user]) == [longer]


async def a_renewed_lease_goes_on(directory: Directory, elapse: Elapse) -> None:
    user = uuid4().hex
    route = _route(user)
    await directory.register(route, lease=0.4)
    await elapse(0.2)
    assert list(await directory.renew(route.node, route.boot, [route.session], lease=0.4)) == []
    await elapse(0.3)
    assert list((await directory.routes([user]))[user]) == [route]


async def renewal_tells_what_is_unknown(directory: Directory, elapse: Elapse) -> None:
    user = uuid4().hex
    route = _route(user)
    over = _route(user, node=route.node, boot=route.boot)
    await directory.register(route, lease=5)
    await directory.register(over, lease=0.2)
    await elapse(0.3)
    sessions = [route.session, over.session, "never"]
    assert set(await directory.renew(route.node, route.boot, sessions, lease=5)) == {over.session, "never"}


async def another_boot_renews_nothing(directory: Directory, elapse: Elapse) -> None:
    route = _route(uuid4().hex)
    await directory.register(route, lease=5)
    assert list(await directory.renew(route.node, "another", [route.session], lease=5)) == [route.session]
    assert list(await directory.renew("another", route.boot, [route.session], lease=5)) == [route.session]


def _node(**fields: object) -> NodeRecord:
    whole = {"node": uuid4().hex, "boot": uuid4().hex, "started": 1_000, **fields}
    return NodeRecord(**whole)  # type: ignore[arg-type]


async def nodes_are_those_that_are_announced(directory: Directory, elapse: Elapse) -> None:
    first = _node(address="10.0.0.1:7000", roles=frozenset(("gateway", "im")), release="1.2.3")
    second = _node()
    await directory.register(_route(uuid4().hex, node="never-announced"), lease=5)
    for record in (first, second):
        assert await directory.announce(record, lease=5)
    nodes = await directory.nodes()
    assert nodes[first.node] == first
    assert nodes[second.node] == second
    assert "never-announced" not in nodes


async def an_announcement_ends_with_its_lease(directory: Directory, elapse: Elapse) -> None:
    gone, there = _node(), _node()
    await directory.announce(gone, lease=0.2)
    await directory.announce(there, lease=0.2)
    await directory.announce(there, lease=5)
    await elapse(0.3)
    nodes = await directory.nodes()
    assert gone.node not in nodes
    assert nodes[there.node] == there
    assert not await directory.depart(gone)


async def who_went_without_a_word_is_remembered_as_gone(directory: Directory, elapse: Elapse) -> None:
    load = {"connections": 3}
    died, departed, back = _node(load=load, stopping=True), _node(), _node()
    for record in (died, departed, back):
        await directory.announce(record, lease=0.2)
    await directory.depart(departed)

    async def gone() -> dict[str, tuple[NodeRecord, float]]:
        return {record.node: (record, since) for record, since in await directory.gone()}

    assert not {died.node, departed.node, back.node} & set(await gone())
    seen = (await directory.nodes())[died.node]
    assert (seen.load, seen.stopping) == (load, True), "how it is comes with its announcement"
    await elapse(0.3)
    await directory.announce(back, lease=5)
    assert died.node not in await directory.nodes()
    found = await gone()
    assert departed.node not in found
    assert back.node not in found
    record, since = found[died.node]
    assert (record, record.load) == (died, load)
    assert 0.09 <= since < 30


async def a_later_start_takes_the_place_and_the_former_one_is_told(directory: Directory, elapse: Elapse) -> None:
    old = _node()
    new = _node(node=old.node, started=old.started + 1)
    same_moment = _node(node=old.node, started=new.started)
    assert await directory.announce(old, lease=5)
    assert await directory.announce(new, lease=0.4)
    assert not await directory.announce(old, lease=5), "it was stopped, and goes on as if it were still there"
    assert not await directory.announce(same_moment, lease=5)
    assert (await directory.nodes())[old.node] == new
    moved = _node(node=new.node, boot=new.boot, started=new.started, address="10.0.0.2:7000")
    assert await directory.announce(moved, lease=0.2)
    assert (await directory.nodes())[old.node] == moved
    await elapse(0.3)
    assert await directory.announce(old, lease=5), "nobody else is there any more"


async def only_its_own_start_departs(directory: Directory, elapse: Elapse) -> None:
    old = _node()
    new = _node(node=old.node, started=old.started + 1)
    await directory.announce(old, lease=5)
    await directory.announce(new, lease=5)
    assert not await directory.depart(old)
    assert (await directory.nodes())[old.node] == new
    assert await directory.depart(new)
    assert old.node not in await directory.nodes()
    assert not await directory.depart(new)


async def what_was_asked_first_is_done_first(directory: Directory, elapse: Elapse) -> None:
    """Calls of one node that do not wait for each other: the last word on a session counts."""
    user = uuid4().hex
    session = uuid4().hex
    for _ in range(5):
        first, second, third = (_route(user, session=session) for _ in range(3))
        done = await asyncio.gather(
            directory.register(first, lease=5),
            directory.unregister(first),
            directory.register(second, lease=5),
            directory.register(third, lease=5),
            directory.unregister(second),
        )
        assert done[1] is True
        assert done[4] is False
        assert list((await directory.routes([user]))[user]) == [third]


async def pages_of_any_size_are_taken(directory: Directory, elapse: Elapse) -> None:
    node, boot = uuid4().hex, uuid4().hex
    routes = [_route(uuid4().hex, node=node, boot=boot) for _ in range(700)]
    await asyncio.gather(*(directory.register(route, lease=5) for route in routes))
    found = await directory.routes([route.user for route in routes])
    assert [found[route.user] for route in routes] == [[route] for route in routes]
    asked = [*(route.session for route in routes), "never"]
    assert list(await directory.renew(node, boot, asked, lease=5)) == ["never"]
    assert list(await directory.renew(node, boot, [], lease=5)) == []


async def a_route_whose_lease_is_over_is_not_there_to_be_removed(directory: Directory, elapse: Elapse) -> None:
    route = _route(uuid4().hex)
    await directory.register(route, lease=0.2)
    await elapse(0.3)
    assert not await directory.unregister(route)


async def memory_grows_older(directory: Directory, elapse: Elapse) -> None:
    before = await directory.known_since()
    assert before >= 0
    await elapse(0.2)
    assert await directory.known_since() >= before + 0.19
