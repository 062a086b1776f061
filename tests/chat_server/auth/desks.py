"""Logins over the rooms alone: devices that log in, say hello, come and go, with the clock in the test's hand."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

from attrs import define, field
from chat_common.errors import ChatError
from chat_common.ports.directory import Route
from chat_common.ports.push import PushProvider
from chat_common.records import Caller
from chat_server.auth.settings import AuthSettings
from chat_server.services import CloseSessions, Credentials, Identity
from chat_server.store.account_schema import login
from sqlalchemy import select

from tests.chat_server.house import House, Store, opened

PLATFORMS = {"iphone": "ios", "pixel": "android", "web": "web", "desk": "linux"}


@define
class Desk:
    """The user ada and her devices. ``closed``: what the gateways were asked to close."""

    house: House
    closed: list[CloseSessions] = field(factory=list)
    routes: dict[str, Route] = field(factory=dict)

    async def log_in(self, device: str | None, *, replace: str | None = None, name: str = "ada") -> str:
        """The token of a fresh login."""
        params: dict[str, Any] = {"name": name}
        if device is not None:
            params["device"] = {"id": device, "platform": PLATFORMS.get(device, "web")}
        if replace is not None:
            params["replace"] = replace
        made = await self.house.pipeline.call(Caller(None, "r", address="192.0.2.7"), "auth.dev", params)
        return str(made.token)

    async def hello(self, token: str, device: str = "", platform: str | None = None) -> Identity:
        return await self.house.rooms.auth.authenticate(Credentials(token, device, platform))

    async def is_in(self, token: str, device: str = "") -> str:
        """``in``, or the error's code with the close code where there is one."""
        try:
            await self.hello(token, device)
        except ChatError as error:
            return f"{error.code} {getattr(error, 'close_code', '')}".strip()
        return "in"

    async def online(self, device: str, token: str) -> None:
        """The device says hello and stays."""
        who = await self.hello(token, device)
        route = Route(who.user.user, device, f"session-{device}", "here", "boot")
        await self.house.rooms.router._directory.register(route, lease=1e9)
        self.routes[device] = route

    async def offline(self, device: str) -> None:
        """It goes; what counts as young grows old meanwhile."""
        await self.house.rooms.router._directory.unregister(self.routes.pop(device))
        self.house.clock.advance(60)

    async def caller(self, token: str, device: str = "") -> Caller:
        who = await self.hello(token, device)
        return Caller(who.user.user, secrets.token_urlsafe(16), who.device, token=who.token, jti=who.jti)

    async def call(self, token: str, command: str, **params: Any) -> Any:
        return await self.house.pipeline.call(await self.caller(token), command, params)

    async def ended(self) -> dict[str, str]:
        """Device → how its newest ended login ended."""
        rows = await self.house.rows(select(login).where(login.c.ended_at.is_not(None)).order_by(login.c.ended_at))
        return {row.device or "": row.ended_by for row in rows}

    async def living(self) -> list[str]:
        """The devices of the logins that live."""
        now = self.house.clock.wall_ms()
        rows = await self.house.rows(select(login).where(login.c.ended_at.is_(None), login.c.expires_at > now))
        return sorted(row.device or "" for row in rows)


@contextlib.asynccontextmanager
async def desk(
    store: Store, *, push_providers: Mapping[str, PushProvider] | None = None, **settings: Any
) -> AsyncIterator[Desk]:
    async with opened(store, auth=AuthSettings(dev=True, **settings), push_providers=push_providers) as house:
        made = Desk(house)
        close = house.rooms.router.close

        async def closing(request: CloseSessions) -> int:
            made.closed.append(request)
            return await close(request)

        neighbours = house.rooms.auth.endings.neighbours
        object.__setattr__(neighbours, "close", closing)
        yield made
