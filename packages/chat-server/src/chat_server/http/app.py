"""Everything that HTTP answers, as one Starlette application."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from chat_common.codec import Codec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Mount, Route

from chat_server.asked_address import NotesAddress
from chat_server.http.callers import Callers
from chat_server.http.commands import CommandEndpoint
from chat_server.http.documents import asyncapi, openapi
from chat_server.http.errors import HANDLERS
from chat_server.http.forward import Forward, nowhere
from chat_server.http.pages import SecurityHeaders, WebClient
from chat_server.http.settings import HttpSettings
from chat_server.http.status import Check, Insiders, document, healthz, metrics_page, readyz, security_txt
from chat_server.metrics import Metrics
from chat_server.pipeline import Pipeline
from chat_server.services import AuthService
from chat_server.transports.asgi import Vouch
from chat_server.transports.origins import Origins
from chat_server.transports.peers import PeerOf, Peers

WEB_CLIENT = Path(__file__).parent.parent / "webclient"


def http_app(
    *,
    pipeline: Pipeline,
    auth: AuthService,
    codec: Codec,
    metrics: Metrics,
    checks: Mapping[str, Check],
    origins: Origins | None = None,
    settings: HttpSettings | None = None,
    routes: Sequence[BaseRoute] = (),
    stores: Sequence[str] = (),
    peers: Peers | None = None,
    body_timeout: float = 30.0,
    stopping: Callable[[], bool] = lambda: False,
    alarm: Callable[[], str] = str,
    public_url: str = "",
    vouched: Vouch | None = None,
) -> Starlette:
    """The application. It has no lifespan: whoever builds it opens and closes what it stands on.

    ``checks``: the parts of readiness, each a coroutine function that raises when the part is not ready.
    ``origins``: whose pages may use it. ``routes``: more of them (login pages, a local object
    store); they are matched before the web client and get the same security headers unless they set their own.
    ``stores``: origins of object stores that the web client may talk to. ``peers`` knows the proxies to believe.
    ``body_timeout``: seconds within which the body of a command is complete. ``stopping``: whether the server drains.
    ``alarm``: see `readyz`.
    ``public_url``: the address that people use, where it is set. ``vouched``: says whose a request without a token is.
    """
    settings = settings or HttpSettings()
    origins = origins or Origins()
    insider = Insiders(settings)
    mine: list[BaseRoute] = [
        Route("/healthz", healthz),
        Route("/readyz", readyz(checks, insider, stopping, alarm)),
        Route("/api/openapi.json", document(partial(openapi, pipeline.commands), public_url)),
        Route("/api/asyncapi.json", document(partial(asyncapi, pipeline.commands), public_url)),
        Route(
            "/api/{command}",
            CommandEndpoint(pipeline, Callers(auth, vouched), codec, origins, body_timeout),
            methods=["POST"],
        ),
    ]
    if settings.metrics != "off":
        mine.append(Route("/metrics", metrics_page(metrics, insider)))
    if settings.security_contact:
        mine.append(Route("/.well-known/security.txt", security_txt(settings.security_contact)))
    mine += routes
    if settings.web_client:
        mine += WebClient(WEB_CLIENT).routes()
    middleware = [
        Middleware(PeerOf, peers=peers or Peers()),
        Middleware(NotesAddress),
        Middleware(SecurityHeaders, stores=stores, public=origins.public, shared=bool(origins.others)),
    ]
    if origins.others:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(origins.others),
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "content-type", "idempotency-key"],
                expose_headers=["retry-after"],
                max_age=600,
            )
        )
    return Starlette(routes=mine, middleware=middleware, exception_handlers=HANDLERS)


def gateway_app(
    *,
    sockets: BaseRoute,
    metrics: Metrics,
    checks: Mapping[str, Check],
    settings: HttpSettings,
    peers: Peers,
    stopping: Callable[[], bool],
) -> Starlette:
    """What a gateway alone answers: its sockets and how it is doing; all else goes where ``forward_to`` says."""
    insider = Insiders(settings)
    mine: list[BaseRoute] = [sockets, Route("/healthz", healthz), Route("/readyz", readyz(checks, insider, stopping))]
    if settings.metrics != "off" and not settings.forward_to:
        mine.append(Route("/metrics", metrics_page(metrics, insider)))
    mine.append(Mount("/", Forward(settings.forward_to) if settings.forward_to else nowhere))
    return Starlette(routes=mine, middleware=[Middleware(PeerOf, peers=peers)], exception_handlers=HANDLERS)
