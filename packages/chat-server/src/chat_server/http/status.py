"""Is it alive, is it ready, how is it doing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from chat_common.errors import ChatError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from chat_server.metrics import Metrics

Check = Callable[[], Awaitable[Any]]
Endpoint = Callable[[Request], Awaitable[Response]]
PATIENCE = 5.0


async def healthz(request: Request) -> Response:
    """200 as long as the process answers."""
    return PlainTextResponse("ok\n", headers={"cache-control": "no-store"})


def readyz(checks: Mapping[str, Check]) -> Endpoint:
    """200 when every part is ready, else 503; ``{ready, parts: {name: "ok" or what is wrong}}``."""

    async def ask(check: Check) -> str:
        try:
            async with asyncio.timeout(PATIENCE):
                await check()
        except TimeoutError:
            return f"no answer within {PATIENCE:g} s"
        except ChatError as error:
            return error.message
        except Exception as error:
            # The inside of a vendor's error may name hosts and passwords.
            return type(error).__name__
        return "ok"

    async def endpoint(request: Request) -> Response:
        answers = await asyncio.gather(*(ask(check) for check in checks.values()))
        parts = dict(zip(checks, answers, strict=True))
        ready = all(answer == "ok" for answer in answers)
        return JSONResponse(
            {"ready": ready, "parts": parts}, 200 if ready else 503, headers={"cache-control": "no-store"}
        )

    return endpoint


def metrics_page(metrics: Metrics) -> Endpoint:
    """Prometheus' text format."""

    async def endpoint(request: Request) -> Response:
        await asyncio.gather(*(ask() for ask in metrics.questions))
        text, kind = metrics.render()
        return Response(text, media_type=kind, headers={"cache-control": "no-store"})

    return endpoint


def document(make: Callable[[], Mapping[str, Any]]) -> Endpoint:
    """A generated document, made when it is first asked for."""
    made: list[bytes] = []

    async def endpoint(request: Request) -> Response:
        if not made:
            made.append(msgspec.json.encode(make()))
        return Response(made[0], media_type="application/json", headers={"cache-control": "no-cache"})

    return endpoint
