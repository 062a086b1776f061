"""A program behind the push provider ``webhook``: it verifies what it is told, and says what became of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, field
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.chat_server.moderation.receiver import SECRET
from tests.chat_server.transports.serving import serving


@define
class VendorBridge:
    """``answers``: an outcome by device, else all are delivered. ``status``: other than 200, what it says to all."""

    url: str = ""
    answers: dict[str, dict[str, Any]] = field(factory=dict)
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(factory=dict)
    told: dict[str, list[dict[str, Any]]] = field(factory=dict)
    ids: list[str] = field(factory=list)

    async def push(self, request: Request) -> Response:
        try:
            told = Webhook(SECRET).verify(await request.body(), dict(request.headers))
        except WebhookVerificationError:
            return Response(status_code=401)
        self.ids.append(request.headers["webhook-id"])
        if self.status != 200 or self.body is not None:
            return Response(self.body or b"", self.status, self.headers)
        outcomes = []
        for address in told["addresses"]:
            outcome = self.answers.get(address["device"], {"result": "delivered"})
            if outcome["result"] == "delivered":
                self.told.setdefault(address["device"], []).append(json.loads(json.dumps(told)))
            outcomes.append(outcome)
        return JSONResponse({"outcomes": outcomes})


@asynccontextmanager
async def vendor_bridge() -> AsyncIterator[VendorBridge]:
    made = VendorBridge()
    async with serving(Starlette(routes=[Route("/push", made.push, methods=["POST"])])) as (_, port):
        made.url = f"http://127.0.0.1:{port}/push"
        yield made
