"""Counts and times what passes through the store's own links, where this process serves them."""

from __future__ import annotations

import asyncio
from typing import Any

from attrs import frozen
from chat_common.clock import Clock
from chat_common.ports.objects import AsgiApp, ObjectTelemetry


@frozen
class Counted:
    """The ASGI application of an `ObjectMount`: operations ``link_get`` and ``link_put``."""

    app: AsgiApp
    clock: Clock
    telemetry: ObjectTelemetry

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "PUT"):
            return await self.app(scope, receive, send)
        outcome = "cancelled"  # also who leaves in the middle of it
        sent = False

        async def counted_receive() -> Any:
            message = await receive()
            if size := len(message.get("body", b"")):
                self.telemetry.moved("in", size)
            return message

        async def counted_send(message: Any) -> None:
            nonlocal outcome, sent
            await send(message)
            if message["type"] == "http.response.start":
                outcome = _outcome(message["status"])
                sent = outcome == "ok"
            elif sent and (size := len(message.get("body", b""))):
                self.telemetry.moved("out", size)

        began = self.clock.monotonic()
        try:
            await self.app(scope, counted_receive, counted_send)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            name = "link_get" if scope["method"] == "GET" else "link_put"
            self.telemetry.operation(name, outcome, self.clock.monotonic() - began)


def _outcome(status: int) -> str:
    if status < 400:
        return "ok"
    return "refused" if status < 500 else "unavailable"
