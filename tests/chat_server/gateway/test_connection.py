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
        wire.say(op="ack", received=0)
        wire.say(op="note", event="typing", data={"conversation": "c"})
        wire.call("r3", "echo")
        wire.say(op="ping")
        refused = [await wire.get(), await wire.get()]
        assert [(frame["op"], frame["code"], frame.get("ref")) for frame in refused] == [
            ("error", "rate_limited", "r3"),
            ("error", "rate_limited", None),
        ]
        assert refused[0]["retry_after"] == 0.05
        assert points.asked == ["echo", None, None, None, None, "echo", None]  # an acknowledgement costs nothing
        assert not wire.reading
        await until(lambda: wire.reading)
        points.left = 1
        wire.call("r4", "echo")
        assert (await wire.get())["ref"] == "r4"
