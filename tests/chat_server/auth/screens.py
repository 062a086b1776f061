"""Two sides of a login by ticket: a screen that waits, and a phone with its cookies."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from attrs import define, field
from chat_common.clock import Clock
from chat_server.server import Server

from tests.support.serving import Settings, in_process

CSRF = re.compile(r'name="csrf" value="([^"]+)"')


@define
class Site:
    """A running server, and new browsers for it."""

    server: Server
    url: str
    browsers: list[httpx2.AsyncClient] = field(factory=list)

    def browser(self, language: str = "en") -> httpx2.AsyncClient:
        """A client with cookies of its own, which does not follow redirects."""
        made = httpx2.AsyncClient(base_url=self.url, headers={"accept-language": language})
        self.browsers.append(made)
        return made

    async def call(self, command: str, token: str | None = None, **params: Any) -> httpx2.Response:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(base_url=self.url, headers=headers) as client:
            return await client.post(f"/api/{command}", json=params)

    async def begin(self, **params: Any) -> dict[str, Any]:
        answer = await self.call("auth.begin", provider="qr", **params)
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def state(self, ticket: str) -> dict[str, Any]:
        return (await self.call("auth.poll", ticket=ticket)).json()  # type: ignore[no-any-return]


@asynccontextmanager
async def site(
    data: Path, *, settings: Settings | None = None, clock: Clock | None = None, plugins: Iterable[object] = ()
) -> AsyncIterator[Site]:
    async with in_process(data, settings=settings, clock=clock, plugins=plugins) as (server, url):
        server.public_address.listening("127.0.0.1", int(url.rpartition(":")[2]))
        made = Site(server, url)
        try:
            yield made
        finally:
            for browser in made.browsers:
                await browser.aclose()


async def press(phone: httpx2.AsyncClient, url: str, action: str, **fields: str) -> httpx2.Response:
    """Open the page and press one of its buttons."""
    shown = await phone.get(url)
    assert shown.status_code == 200, shown.text
    found = CSRF.search(shown.text)
    assert found is not None
    return await phone.post(url, data={"csrf": found[1], "action": action, **fields})
