"""Another node's gateway, as the router sees it: what is on its way there, and whether it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from chat_common.backoff import pause
from chat_common.errors import ChatError

from chat_server.services import Delivery, GatewayService

log = structlog.get_logger("chat.router")

PATIENCE = 1.0
"""Seconds that fan-out waits for a node to have taken a delivery. Until then the batch counts as not handed on, so that
whoever takes over from a node that dies in between hands it on again."""
WAITING = 10_000
"""Deliveries that wait for a node at most; what is more is lost, and the node is told so."""
TOGETHER = 500
"""Deliveries in one call."""
FIRST, CAP = 0.1, 2.0
"""Seconds between two attempts to reach a node that did not answer."""


class RemoteNode:
    """Deliveries go in order, those of one moment in one call. A call that fails loses what it carried: the node is
    told that it has missed something as soon as it answers again, and its check finds what. While it does not answer
    nobody waits for it.
    """

    def __init__(self, name: str, gateway: GatewayService) -> None:
        self.name = name
        self.gateway = gateway
        self.answers = True
        self._waiting: list[tuple[Delivery, asyncio.Future[None]]] = []
        self._missed = 0
        self._task: asyncio.Task[None] | None = None

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Send them; returns when the node has taken them, does not answer, or takes longer than `PATIENCE`."""
        if len(self._waiting) + len(deliveries) > WAITING:
            self._missed += len(deliveries)
            return
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.extend((delivery, done) for delivery in deliveries)
        if self._task is None:
            self._task = loop.create_task(self._send(), name=f"deliveries to {self.name}")
        if self.answers:
            await asyncio.wait([done], timeout=PATIENCE)
            if not done.done():
                self._silent("it is slow")

    def greet(self) -> None:
        """Have it ask the log: what this node has delivered before it knew of that one went by it."""
        self._missed += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send(), name=f"deliveries to {self.name}")

    def leave(self) -> None:
        """The node is gone: what waits for it is not sent."""
        if self._task is not None:
            self._task.cancel()
        self._settle(self._waiting)
        self._waiting = []

    async def _send(self) -> None:
        failures = 0
        try:
            while self._waiting or self._missed:
                batch, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
                missed = self._missed
                try:
                    if missed:
                        await self.gateway.missed(missed)
                        self._missed -= missed
                    if batch:
                        await self.gateway.deliver([delivery for delivery, _ in batch])
                    failures = 0
                    if not self.answers:
                        self.answers = True
                        log.info("node_answers", node=self.name)
                except ChatError as error:
                    failures += 1
                    self._missed += len(batch)
                    self._silent(error.message)
                    self._settle(batch)
                    await asyncio.sleep(pause(failures, FIRST, CAP))
                self._settle(batch)
        finally:
            self._task = None

    def _silent(self, reason: str) -> None:
        if self.answers:
            self.answers = False
            log.warning("node_does_not_answer", node=self.name, reason=reason)

    @staticmethod
    def _settle(batch: Sequence[tuple[Delivery, asyncio.Future[None]]]) -> None:
        for _, done in batch:
            if not done.done():
                done.set_result(None)
