"""The line of one page to its server."""

from __future__ import annotations

from playwright.async_api import WebSocketRoute, expect

from tests.e2e.person import Person


class Line:
    """The WebSockets of one page, which can be cut and be kept from coming back."""

    def __init__(self) -> None:
        self.blocked = False
        self.sockets: list[WebSocketRoute] = []

    async def take(self, socket: WebSocketRoute) -> None:
        if self.blocked:
            await socket.close()
        else:
            self.sockets.append(socket)
            socket.connect_to_server()

    async def cut(self, person: Person) -> None:
        self.blocked = True
        await self.sockets[-1].close()
        await expect(person.page.locator(".banner")).to_be_visible()
