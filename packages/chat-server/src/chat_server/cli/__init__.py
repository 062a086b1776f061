"""The command `chat-server` (first version: run; the doors move to `http` as they are built)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec
import uvicorn
from chat_common.errors import ChatError, NotAuthenticated
from chat_common.records import Caller
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from chat_server.server import Server
from chat_server.store.tx import new_id
from chat_server.transports.websocket import WebSocketTransport

CLIENT = Path(__file__).parent.parent / "webclient"


def _app(server: Server) -> Starlette:
    async def api(request: Request) -> Response:
        try:
            user = token = None
            bearer = request.headers.get("authorization", "")
            if bearer:
                if not bearer.lower().startswith("bearer "):
                    raise NotAuthenticated("Authorization: Bearer TOKEN")
                who = await server.rooms.auth.authenticate(bearer[7:], "", None, None)
                user, token = who.user.user, who.token
            caller = Caller(
                user, request.headers.get("idempotency-key") or new_id(), token=token, origin="http",
                address=request.client.host if request.client else None,
            )  # fmt: skip
            body = await request.body()
            result = await server.pipeline.call(caller, request.path_params["command"], msgspec.Raw(body or b"{}"))
            return Response(msgspec.json.encode(result), media_type="application/json")
        except ChatError as error:
            return Response(msgspec.json.encode(error.as_dict()), error.status, media_type="application/json")

    async def health(request: Request) -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    async def index(request: Request) -> Response:
        return FileResponse(CLIENT / "index.html")

    return Starlette(
        routes=[
            Route("/api/{command}", api, methods=["POST"]),
            Route("/healthz", health),
            Route("/", index),
            Mount("/static", StaticFiles(directory=CLIENT)),
        ]
    )


class _Uvicorn(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            click.echo(f"chat-server is ready on http://{host}:{port}")


@click.group(invoke_without_command=True)
@click.option("--dev", is_flag=True)
@click.option("--config", type=click.Path(path_type=Path, exists=True))
@click.option("--host")
@click.option("--port", type=int)
@click.option("--data")
@click.pass_context
def main(context: click.Context, dev: bool, config: Path | None, host: str | None, port: int | None, data: str | None) -> None:
    """Run the server."""
    if context.invoked_subcommand is not None:
        return
    settings: dict[str, Any] = {"server": {}, "auth": {"dev": dev}}
    for key, value in (("host", host), ("port", port), ("data", data)):
        if value is not None:
            settings["server"][key] = value

    async def run() -> None:
        async with Server(settings=settings, config=config) as server:
            section = server.settings.section("server")
            runner = _Uvicorn(
                uvicorn.Config(
                    _app(server), host=section.host, port=section.port, ws=WebSocketTransport(server.gateway),
                    log_level="warning", lifespan="off", access_log=False,
                )  # fmt: skip
            )
            await runner.serve()

    import uvloop

    uvloop.run(run()) if uvloop else asyncio.run(run())
