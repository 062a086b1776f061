from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx2
import pytest
from attrs import define
from chat_common import wire
from chat_common.clock import ManualClock
from chat_common.codec.json import JsonCodec
from chat_common.errors import NotAuthenticated, RateLimited, Unavailable
from chat_common.plugins import Owned, Owner
from chat_common.records import Caller, Command
from chat_server.http.app import http_app
from chat_server.metrics import Metrics
from chat_server.pipeline import LimitSettings, Pipeline
from chat_server.services import Credentials, Identity, Renewed
from msgspec import UNSET, Meta, UnsetType
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route


@define(kw_only=True)
class Say:
    text: Annotated[str, Meta(max_length=5)]
    nested: Any = None


@define(kw_only=True)
class Said:
    text: str
    by: str | UnsetType = UNSET


@define(kw_only=True)
class SaidTwice:
    texts: list[str]


class NoReplies:
    async def get(self, user: str, ref: str) -> tuple[bytes, bytes] | None:
        return None

    async def put(self, user: str, ref: str, digest: bytes, result: bytes) -> None: ...


class OneToken:
    """An AuthService that knows one token."""

    async def authenticate(self, shown: Credentials) -> Identity:
        if shown.token != "annas-token":
            raise NotAuthenticated("token: ended", field="token")
        return Identity(wire.User(user="anna", name="Anna"), "phone", "family", 0)

    async def renew(self, identity: Identity) -> Renewed:
        raise NotImplementedError


class Site:
    """The application, and what its handler saw."""

    def __init__(self, *, limits: LimitSettings | None = None, **options: Any) -> None:
        self.callers: list[Caller] = []
        self.wrong: dict[str, Exception] = {}
        owner = Owner("tests")
        self.pipeline = Pipeline(
            [
                Owned(Command("say", Say, Said, self.say, "changes", summary="Say it."), owner),
                Owned(Command("listen", Say, Said | SaidTwice, self.say), owner),
                Owned(Command("auth.methods", Say, Said, self.say, callers="guests"), owner),
            ],
            [],
            codec=JsonCodec(),
            clock=ManualClock(),
            replies=NoReplies(),
            limits=limits,
        )
        metrics = Metrics()
        metrics.commands(self.pipeline.commands)
        metrics.gauges(lambda: {"sessions": 7})

        async def page(request: Request) -> PlainTextResponse:
            return PlainTextResponse("a page", headers={"content-security-policy": "default-src 'self'"})

        self.app: Starlette = http_app(
            pipeline=self.pipeline,
            auth=OneToken(),
            codec=JsonCodec(),
            metrics=metrics,
            checks={"database": self.check("database"), "broker": self.check("broker")},
            routes=[Route("/login/page", page)],
            **options,
        )

    def check(self, part: str) -> Any:
        async def check() -> None:
            if part in self.wrong:
                raise self.wrong[part]

        return check

    async def say(self, caller: Caller, request: Say) -> Said:
        self.callers.append(caller)
        if request.text == "break":
            raise LookupError("inside")
        if request.text == "slow":
            raise RateLimited("slowly", limit=3, retry_after=1.2)
        if request.text == "away":
            raise Unavailable("not now")
        await asyncio.sleep(0)
        return Said(text=request.text, by=caller.user or UNSET)

    def client(self, **options: Any) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url="http://chat.example", **options)


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
async def client(site: Site) -> AsyncIterator[httpx2.AsyncClient]:
    async with site.client(headers={"authorization": "Bearer annas-token"}) as client:
        yield client


@pytest.fixture
async def guest(site: Site) -> AsyncIterator[httpx2.AsyncClient]:
    async with site.client() as client:
        yield client
