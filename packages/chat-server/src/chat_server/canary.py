"""The canary: every half a minute each node sends itself something on the way of messages, and looks whether it comes.

It is committed to the outbox with its conversation's shard, carried by the node that has the shard, over the broker and
the router (a call from node to node, where that is another one) to the gateway of the node that sent it. So it finds a
database that does not commit, a relay that has stopped, a broker that takes and does not give, and nodes that do not
reach each other. It is nobody's message: im, inboxes and clients do not see it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from attrs import define, frozen
from chat_common.assembly import Assembly
from chat_common.clock import Clock
from chat_common.decoding import prepare
from chat_common.errors import ChatError
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.database import Database
from chat_common.ports.outbox import Outbox, OutboxEntry
from chat_common.records import Consumer, Context, Push, Task
from chat_common.settings import setting

from chat_server.contributions import RoomContributions
from chat_server.joining import Here
from chat_server.services import SessionPush
from chat_server.store.topics import announce

log = structlog.get_logger("chat.canary")

TOPIC = "canary"


@define(kw_only=True)
class CanarySettings:
    every: float = setting(
        30.0, help="Seconds between two canaries of a node that shares its directory with others; 0: none."
    )
    patience: float = setting(10.0, help="Seconds after which a canary that has not come counts as lost.")


@frozen
class Sung:
    """Payload of the topic ``canary``. ``session``: where the node of that name listens for it."""

    node: str
    session: str
    number: int


prepare(Sung)


class Canary:
    """``tell``: the router's. ``boot``: the random id of this node's start. ``alone``: it has no others, or no gateway:
    it sends none, and carries those of others."""

    def __init__(
        self,
        settings: CanarySettings,
        database: Database,
        outbox: Outbox,
        clock: Clock,
        node: str,
        boot: str,
        tell: Callable[[SessionPush], Awaitable[bool]],
        alone: bool = True,
    ) -> None:
        self._settings = settings
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._node = node
        self.session = f"canary-{boot}"
        self._tell = tell
        self._alone = alone
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self.latency = 0.0
        """Seconds that the last one took which came."""
        self.lost = 0
        """How many have not come, since the start."""
        self.alarm = ""
        """What was wrong with the last one; empty: nothing."""

    def contributions(self) -> RoomContributions:
        """Its consumer, and the work that sends."""
        if not self._settings.every:
            return RoomContributions(room="canary")
        tasks = [] if self._alone else [Task("canary", self._run)]
        return RoomContributions(
            room="canary", consumers=[Consumer(TOPIC, "canary", self._carried, attempts=1)], tasks=tasks
        )

    def numbers(self) -> Mapping[str, float]:
        """For the metrics."""
        return {"canary_seconds": self.latency, "canary_lost": self.lost}

    def came(self, push: Push) -> None:
        """One has reached this node's gateway."""
        waiting = self._waiting.get(push.data["number"])
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def sing(self) -> bool:
        """Send one; whether it has come in time."""
        number, began = next(self._numbers), self._clock.monotonic()
        payload = msgspec.json.encode(Sung(self._node, self.session, number))
        # Another key each time: over the hours every shard is tried.
        entry = OutboxEntry(TOPIC, f"{self.session}-{number}", payload)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._settings.patience):
                await self._database.change(lambda connection: announce(connection, self._outbox, [entry]))
                await waiting
        except TimeoutError:
            self._failed(f"A message to this node itself has not come within {self._settings.patience:g} s.")
            return False
        except ChatError as error:
            self._failed(error.message)
            return False
        finally:
            del self._waiting[number]
        self.latency, self.alarm = self._clock.monotonic() - began, ""
        return True

    def _failed(self, why: str) -> None:
        self.lost += 1
        if not self.alarm:
            log.error("canary_lost", node=self._node, reason=why)
        self.alarm = why

    async def _run(self, _context: Context) -> None:
        while True:
            await asyncio.sleep(self._settings.every)
            await self.sing()

    async def _carried(self, records: Sequence[BrokerRecord]) -> None:
        for record in records:
            sung = msgspec.json.decode(record.payload, type=Sung)
            data: dict[str, Any] = {"number": sung.number}
            # Nobody there: that node has ended, or does not answer, and counts it as lost itself.
            await self._tell(SessionPush(sung.session, sung.node, Push(TOPIC, data)))


async def canary_of(assembly: Assembly, settings: CanarySettings, here: Here) -> Canary:
    """The canary of this node, with its gateway listening for it."""
    canary = Canary(
        settings,
        await assembly.get(Database),  # type: ignore[type-abstract]
        await assembly.get(Outbox),  # type: ignore[type-abstract]
        assembly.clock,
        here.node,
        here.boot,
        here.router.tell,
        here.alone or here.gateway is None,
    )
    if here.gateway is not None:
        here.gateway.listeners[canary.session] = canary.came
    return canary
