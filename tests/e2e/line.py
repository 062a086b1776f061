"""The line of one page to its server."""

from __future__ import annotations

from playwright.async_api import Browser, WebSocketRoute, expect

from tests.e2e.person import Person
from tests.e2e.server import Server


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


async def two_with_a_line(browser: Browser, server: Server) -> tuple[Person, Person, Line]:
    """Ada and Bob, who have said one word to each other, and Ada's line."""
    line = Line()
    ada = await Person.arrive(browser, server.url, "Ada")
    await ada.page.route_web_socket("**/ws", line.take)
    await ada.page.reload()
    await ada.log_in()
    bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
    await ada.find("Bob")
    await ada.say("one")
    await bob.open("Ada")
    await bob.sees("one")
    return ada, bob, line
