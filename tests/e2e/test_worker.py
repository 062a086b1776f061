"""The service worker: the page without a network, a push that becomes a notification, a press that leads there."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from playwright.async_api import Browser, expect

from tests.e2e.person import Person
from tests.e2e.server import Server
from tests.e2e.test_marks import CALL

READY = "navigator.serviceWorker.ready.then((one) => one.active.state)"
SHOWN = """async () => {
  const registration = await navigator.serviceWorker.ready;
  const all = await registration.getNotifications();
  return all.map(({ title, body, tag }) => [title, body, tag]);
}"""


async def deliver(person: Person, url: str, payload: dict[str, Any]) -> None:
    """As a push service would."""
    devtools = await person.context.new_cdp_session(person.page)
    registered: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def updated(event: dict[str, Any]) -> None:
        for one in event["registrations"]:
            if not one["isDeleted"] and not registered.done():
                registered.set_result(one["registrationId"])

    devtools.on("ServiceWorker.workerRegistrationUpdated", updated)
    await devtools.send("ServiceWorker.enable")
    message = {"origin": url.rstrip("/"), "registrationId": await registered, "data": json.dumps(payload)}
    await devtools.send("ServiceWorker.deliverPushMessage", message)


async def test_a_push_is_shown_and_the_page_opens_without_a_network(browser: Browser, server: Server) -> None:
    ada = await (await Person.arrive(browser, server.url, "Ada", permissions=["notifications"])).log_in()
    await ada.page.evaluate(CALL, ["group.create", {"name": "Lunch", "members": []}])
    await ada.open("Lunch")
    room = ada.page.url.partition("#/")[2]
    await ada.back()
    assert await ada.page.evaluate(READY) in ("activating", "activated")
    about = {"title": "Bob", "body": "Bob: at noon?", "tag": room, "data": {"conversation": room, "seq": 1}}
    await deliver(ada, server.url, {"notification": about, "app_badge": 1})
    for _ in range(100):
        if shown := await ada.page.evaluate(SHOWN):
            break
        await asyncio.sleep(0.1)
    assert shown == [["Bob", "Bob: at noon?", room]]
    (worker,) = ada.context.service_workers
    await worker.evaluate(
        """async () => {
          const [notification] = await self.registration.getNotifications();
          self.dispatchEvent(new NotificationEvent("notificationclick", { notification }));
        }"""
    )
    await expect(ada.page.locator(".thread-head h1")).to_have_text("Lunch")  # without a reload
    await ada.page.reload()  # the worker keeps what it serves
    await expect(ada.page.locator(".me-name")).to_have_text("Ada")
    await server.stop()
    await ada.page.reload()
    await expect(ada.page.locator(".splash")).to_be_visible()
    assert ada.problems == []
