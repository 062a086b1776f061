"""Is it alive, is it ready, how is it doing."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from chat_common.errors import ChatError, NotPermitted
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from chat_server.http.settings import HttpSettings
from chat_server.metrics import Metrics, merged

Check = Callable[[], Awaitable[Any]]
Endpoint = Callable[[Request], Awaitable[Response]]
PATIENCE = 5.0
FRESH = 1.0


async def healthz(request: Request) -> Response:
    """200 as long as the process answers."""
    return PlainTextResponse("ok\n", headers={"cache-control": "no-store"})


class Insiders:
    """Who may look inside, by `[http] metrics`: what happens here is nobody else's business."""

    def __init__(self, settings: HttpSettings) -> None:
        self._rule = settings.metrics
        self._token = settings.metrics_token.encode()

    def __call__(self, request: Request) -> bool:
        """Whether this request may. This machine has no address (see `transports.peers`); a proxy on it has one."""
        if self._rule == "token":
            given = request.headers.get("authorization", "").encode()
            return hmac.compare_digest(given, b"Bearer " + self._token)
        return self._rule == "open" or (self._rule == "loopback" and request.client is None)


def readyz(
    checks: Mapping[str, Check],
    insider: Callable[[Request], bool],
    stopping: Callable[[], bool] = lambda: False,
    alarm: Callable[[], str] = str,
) -> Endpoint:
    """200 when every part is ready, else 503; ``{ready, parts: {name: "ok" or what is wrong}}``.

    Only insiders are told the parts, which are asked at most once a second, however often somebody asks for them. From
    the moment when it is ``stopping`` the server is not ready, whatever its parts are. ``alarm`` says what is wrong
    though every part is there, empty: nothing; insiders are told, and the server stays ready: what is wrong with all
    nodes must not take all of them from the balancer.
    """
    latest: list[tuple[float, dict[str, str]]] = []
    asking = asyncio.Lock()

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

    async def look() -> dict[str, str]:
        async with asking:
            if not latest or time.monotonic() - latest[0][0] >= FRESH:
                answers = await asyncio.gather(*(ask(check) for check in checks.values()))
                latest[:] = [(time.monotonic(), dict(zip(checks, answers, strict=True)))]
            return latest[0][1]

    async def endpoint(request: Request) -> Response:
        parts = {"server": "It is stopping."} if stopping() else await look()
        ready = all(answer == "ok" for answer in parts.values())
        told: dict[str, Any] = {"ready": ready, "parts": parts} if insider(request) else {"ready": ready}
        if insider(request) and (wrong := alarm()):
            told["alarm"] = wrong
        return JSONResponse(told, 200 if ready else 503, headers={"cache-control": "no-store"})

    return endpoint


def metrics_page(metrics: Metrics, insider: Callable[[Request], bool]) -> Endpoint:
    """Prometheus' text format, for insiders."""

    async def endpoint(request: Request) -> Response:
        if not insider(request):
            raise NotPermitted("The metrics are not open to this address; see the setting [http] metrics.")
        await asyncio.gather(*(ask() for ask in metrics.questions))
        text, kind = metrics.render()
        others = await metrics.elsewhere() if metrics.elsewhere is not None else {}
        if others:
            text = merged({metrics.node: text.decode(), **others})
        return Response(text, media_type=kind, headers={"cache-control": "no-store"})

    return endpoint


def security_txt(contact: str) -> Endpoint:
    """RFC 9116: where to report what is found."""

    async def endpoint(request: Request) -> Response:
        until = datetime.now(UTC) + timedelta(days=180)
        return PlainTextResponse(f"Contact: {contact}\nExpires: {until:%Y-%m-%dT%H:%M:%SZ}\n")

    return endpoint


def document(make: Callable[[str], Mapping[str, Any]], public_url: str = "") -> Endpoint:
    """A generated document, made when it is first asked for. ``make`` gets the address of the server: ``public_url``,
    or else the path under which the host has mounted it."""
    made: dict[str, bytes] = {}

    async def endpoint(request: Request) -> Response:
        address = (public_url or str(request.scope.get("root_path", ""))).rstrip("/")
        if address not in made:
            made[address] = msgspec.json.encode(make(address))
        return Response(made[address], media_type="application/json", headers={"cache-control": "no-cache"})

    return endpoint
