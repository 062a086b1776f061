"""A server's doors as one ASGI application: what `Server.app` is, and what our own HTTP server serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from chat_common.ports.broker import Broker
from sqlalchemy import text
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from chat_server.http.app import http_app
from chat_server.metrics import Metrics
from chat_server.transports.asgi import AsgiTransport

if TYPE_CHECKING:
    from chat_server.server import Server


def site(server: Server, *, metrics: Metrics | None = None, routes: Sequence[BaseRoute] = ()) -> ASGIApp:
    """HTTP and, for a host that mounts it under its own ASGI server, WebSocket. The server must be open."""
    metrics = metrics or Metrics()
    metrics.commands(server.pipeline.commands)
    metrics.gauges(server.gateway.stats)
    origins = server.settings.section("server").allowed_origins
    http = http_app(
        pipeline=server.pipeline,
        auth=server.rooms.auth,
        codec=server.codec,
        metrics=metrics,
        checks=_checks(server),
        allowed_origins=origins,
        settings=server.settings.section("http"),
        routes=routes,
    )
    websocket = AsgiTransport(server.gateway, allowed_origins=origins)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await websocket(scope, receive, send)
        else:
            await http(scope, receive, send)

    return app


def _checks(server: Server) -> dict[str, Callable[[], Awaitable[Any]]]:
    async def database() -> None:
        await server.database.read(lambda connection: connection.execute(text("SELECT 1")).scalar())

    async def broker() -> None:
        for backend in (await server.assembly.all(Broker)).values():  # type: ignore[type-abstract]
            await backend.ready()

    return {"database": database, "broker": broker}
