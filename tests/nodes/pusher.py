"""A node as a process, which prints what it pushes: ``python -m tests.nodes.pusher JSON``. Says ``ready`` when it runs,
then says in a conversation each line that is typed to it; an empty one stops it in order.

In the plan: ``settings``; ``lease``: seconds that leases last; ``hang_at``: the seq whose push comes back only when the
server is stopping.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from attrs import field, frozen
from chat_common.hookspecs import hookimpl
from chat_common.ports.push import Address, Notification, Outcome, PushProvider, Result
from chat_common.records import Backend, Context
from chat_server.server import Server
from chat_server.store import leases


@frozen
class Printed(PushProvider):
    """A push provider that prints."""

    hang_at: int
    stopping: asyncio.Event = field(factory=asyncio.Event)

    async def send(self, notification: Notification, addresses: Sequence[Address]) -> Sequence[Outcome]:
        for address in addresses:
            print("pushing", address.device, notification.seq, flush=True)
            if notification.seq == self.hang_at:
                await self.stopping.wait()
            print("pushed", address.device, notification.seq, flush=True)
        return [Outcome(Result.DELIVERED)] * len(addresses)


@frozen
class Phones:
    """The plugin that brings this provider."""

    provider: PushProvider

    @hookimpl
    def chat_backends(self) -> list[Backend]:
        @asynccontextmanager
        async def opened(_context: Context) -> AsyncIterator[PushProvider]:
            yield self.provider

        return [Backend(PushProvider, "phones", opened, default=True)]


async def main() -> None:
    plan = json.loads(sys.argv[1])
    leases.LEASE = plan["lease"]
    leases.LAST_STEP = 60.0  # on a loaded machine, too
    printed = Printed(plan["hang_at"])
    async with Server(settings=plan["settings"], environ={}, plugins=[Phones(printed)]) as server:
        print("ready", flush=True)
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            say = {"conversation": plan["room"], "kind": "text", "body": {"text": line}}
            receipt = await server.call("submit", say, user=plan["user"])
            print("said", receipt.seq, flush=True)
        asyncio.get_running_loop().call_later(0.5, printed.stopping.set)


if __name__ == "__main__":
    asyncio.run(main())
