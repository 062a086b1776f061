"""Guests are few for each address, wait no longer than a login takes, and leave nothing."""

from __future__ import annotations

from typing import Any

from attrs import define

from tests.chat_server.gateway.fakes import House, until


async def come(house: House, address: str | None) -> tuple[Any, dict[str, Any]]:
    wire = house.wire()
    wire.address = address  # type: ignore[assignment]
    wire.hello()
    return wire, await wire.get()


async def test_there_are_so_many_from_one_address() -> None:
    async with House(guests=3) as house:
        mine = [await come(house, f"2001:db8:1:2::{number}") for number in range(4)]
        assert [frame["op"] for _, frame in mine] == ["welcome"] * 3 + ["error"]
        refused = mine[3][1]
        assert (refused["code"], refused["limit"], refused["retry_after"]) == ("rate_limited", 3, 30.0)
        assert house.gateway.node.refusals.counts == {"guests_of_one_address": 1}
        assert (await come(house, "192.0.2.7"))[1]["op"] == "welcome"
        assert {(await come(house, None))[1]["op"] for _ in range(20)} == {"welcome"}
        mine[0][0].link.lost()
        assert (await come(house, "2001:db8:1:2::9"))[1]["op"] == "welcome"


async def test_a_guest_leaves_nothing_and_is_not_resumed() -> None:
    async with House() as house:
        wire, welcome = await house.enter(None)
        assert len(house.gateway.sessions.guests) == len(house.gateway.sessions.index) == 1
        wire.link.lost()
        assert len(house.gateway.sessions.guests) == len(house.gateway.sessions.index) == 0
        again, welcome_again = await house.enter(None, resume=(welcome["session"], 0))
        assert welcome_again["resumed"] is False
        house.advance(46)  # silent: a user would be waited for
        await until(lambda: again.closed == 4001)
        assert len(house.gateway.sessions.guests) == len(house.gateway.sessions.index) == 0


@define
class Begun:
    expires_in: float


async def stays(house: House, wire: Any, seconds: float) -> None:
    """It is there for so long, with a sign of life in between."""
    while seconds > 0:
        house.advance(min(seconds, 20))
        wire.say(op="ping")
        await wire.until("pong")
        seconds -= 20


async def test_a_guest_lives_as_long_as_its_ticket() -> None:
    async with House(guest_lifetime=40.0) as house:
        lifetimes = iter([300.0, 60.0])

        async def begin(caller: Any, params: Any) -> Begun:
            return Begun(next(lifetimes))

        async def ask(caller: Any, params: Any) -> Begun:
            return Begun(9e9)

        house.dispatcher.commands = {"auth.begin": begin, "ask": ask}
        wire, _ = await house.enter(None)
        await stays(house, wire, 30)
        wire.call("1", "auth.begin")
        await wire.until("reply")
        await stays(house, wire, 280)
        wire.call("2", "auth.begin")  # Another code is asked for: it alone counts.
        await wire.until("reply")
        await stays(house, wire, 60)
        house.advance(6)
        bye = await wire.until("bye")
        assert (bye["code"], bye["reconnect"]) == (4100, "sync")
        assert len(house.gateway.sessions.guests) == len(house.gateway.sessions.index) == 0
        # Whoever is logged in has no ticket, whatever a command answers.
        ann, _ = await house.enter("ann")
        ann.call("1", "ask")
        await ann.until("reply")
        assert len(house.gateway.sessions.guests) == 0


async def test_a_guest_that_begins_nothing_does_not_stay() -> None:
    async with House(guest_lifetime=40.0) as house:
        wire, _ = await house.enter(None)
        house.advance(20)
        wire.say(op="ping")
        await wire.until("pong")
        house.advance(21)
        bye = await wire.until("bye")
        assert (bye["code"], bye["reconnect"]) == (4100, "sync")
        assert len(house.gateway.sessions.guests) == 0
