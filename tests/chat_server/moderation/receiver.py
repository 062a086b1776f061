"""A program that takes webhooks, as its author would write it: a library of others checks the signature."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from attrs import define, field
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.chat_server.transports.serving import serving

SECRET = "whsec_" + base64.b64encode(b"a key of thirty-two bytes, no less").decode()
OTHER = "whsec_" + base64.b64encode(b"another one of thirty-two bytes.").decode()


@define
class Receiver:
    """``attempts``: every call with a good signature, as (id, body); ``taken``: the bodies that were answered with
    success, each id once; ``forged``: calls with another signature, or an old time stamp."""

    webhook: Webhook = field(factory=lambda: Webhook(SECRET))
    answer: Callable[[dict[str, Any]], Awaitable[Response]] | None = None
    attempts: list[tuple[str, dict[str, Any]]] = field(factory=list)
    taken: list[dict[str, Any]] = field(factory=list)
    ids: set[str] = field(factory=set)
    captured: list[tuple[bytes, dict[str, str]]] = field(factory=list)
    forged: int = 0
    url: str = ""

    async def take(self, request: Request) -> Response:
        content, headers = await request.body(), dict(request.headers)
        try:
            body = self.webhook.verify(content, headers)
        except WebhookVerificationError:
            self.forged += 1
            return Response(status_code=401)
        name = headers["webhook-id"]
        self.attempts.append((name, body))
        self.captured.append((content, headers))
        answer = Response(status_code=204) if self.answer is None else await self.answer(body)
        if answer.status_code < 300 and name not in self.ids:
            self.ids.add(name)
            self.taken.append(body)
        return answer


@contextlib.asynccontextmanager
async def receiving(receiver: Receiver | None = None) -> AsyncIterator[Receiver]:
    made = receiver or Receiver()
    async with serving(Starlette(routes=[Route("/hook", made.take, methods=["POST"])])) as (_, port):
        made.url = f"http://127.0.0.1:{port}/hook"
        yield made


def status(code: int) -> Callable[[dict[str, Any]], Awaitable[Response]]:
    async def answer(_body: dict[str, Any]) -> Response:
        return Response(status_code=code)

    return answer


def says(content: bytes | str, code: int = 200, **headers: str) -> Callable[[dict[str, Any]], Awaitable[Response]]:
    async def answer(_body: dict[str, Any]) -> Response:
        return Response(content, code, headers)

    return answer


async def never(_body: dict[str, Any]) -> Response:
    await asyncio.Event().wait()
    raise AssertionError
