"""What a connection does with frames that its user has no points for."""

from __future__ import annotations

from typing import Any

from chat_common.errors import RateLimited
from chat_common.records import Caller

from tests.chat_server.gateway.fakes import House, until


class Points:
    """So many; then every frame is refused."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.asked: list[str | None] = []

    def __call__(self, caller: Caller, command: str | None) -> None:
        self.asked.append(command)
        if self.left <= 0:
            raise RateLimited("slowly", retry_after=0.05)
        self.left -= 1


async def test_every_frame_costs_and_a_flood_waits_behind_itself() -> None:
    async with House() as house:

        async def echo(caller: Any, params: Any) -> Any:
            return {}

        house.dispatcher.commands["echo"] = echo
        wire, _ = await house.enter("ann")
        points = house.dispatcher.limit = Points(4)
        wire.call("r1", "echo")
        wire.say(op="ping")
        wire.say(op="note", event="typing", data={"conversation": "c"})
        wire.say(op="nonsense", ref="r2")
        assert wire.reading
        assert [(await wire.get())["op"] for _ in range(3)].count("pong") == 1
        wire.say(op="ack", received=0)  # which costs nothing
        wire.call("r3", "echo")
        refused = await wire.get()
        assert (refused["op"], refused["code"], refused["ref"]) == ("error", "rate_limited", "r3")
        assert refused["retry_after"] == 0.05
        assert points.asked == ["echo", None, None, None, "echo"]
        # What was read already waits, in its order, and nothing more is read.
        assert not wire.reading
        for number in range(5_000):
            wire.call(f"w{number}", "echo")
        assert len(points.asked) == 5
        points.left = 5_000
        assert [(await wire.get())["ref"] for _ in range(5_000)] == [f"w{number}" for number in range(5_000)]
        assert wire.reading


async def test_an_ephemeral_event_without_points_is_dropped() -> None:
    async with House() as house:
        wire, _ = await house.enter("ann")
        points = house.dispatcher.limit = Points(0)
        wire.say(op="note", event="typing", data={"conversation": "c"})
        assert not wire.reading
        await until(lambda: wire.reading)
        assert points.asked == [None]
        assert wire.rest() == []
