"""A server process that talks: ``python -m tests.chat_server.store.talker JSON``. Says ``done`` when all is said, and
runs on (relay, fan-out) until its input ends."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from chat_common.errors import ChatError, Unavailable
from chat_server.server import Server


async def talk(server: Server, user: str, room: str, count: int, name: str) -> None:
    for number in range(count):
        said = f"{name}-{user}-{number}"
        say = {"conversation": room, "kind": "text", "body": {"text": said}}
        receipt: Any = await server.call("submit", say, user=user, ref=f"{said}-{room}")
        await server.call("read", {"conversation": room, "seq": receipt.seq}, user=user)


async def main() -> None:
    plan = json.loads(sys.argv[1])
    async with Server(settings=plan["settings"], environ={}) as server:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        try:
            async with asyncio.TaskGroup() as group:
                for user in plan["users"]:
                    for room in plan["rooms"]:
                        group.create_task(talk(server, user, room, plan["count"], plan["name"]))
        except* (ChatError, Unavailable) as errors:
            print("failed", errors.exceptions, flush=True)
        print("done", flush=True)
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main())
