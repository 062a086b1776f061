"""The service worker: the page without a network, a push that becomes a notification, a press that leads there."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from chat_server.push.vapid import make_key
from playwright.async_api import Browser, expect

from tests.e2e.person import Person
from tests.e2e.server import Server
from tests.e2e.test_marks import CALL
from tests.standins.push_service import push_service
from tests.support.waiting import until

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


# No browser of a test reaches a push service: the subscription is that of the stand-in's browser, for as long as this
# one would have kept it.
STUB = """(() => {
  const KEPT = "test.subscription";
  const subscription = SUBSCRIPTION;
  const plain = (key) => atob(key.replaceAll("-", "+").replaceAll("_", "/"));
  const made = (key) => ({
    endpoint: subscription.endpoint,
    options: { applicationServerKey: Uint8Array.from(plain(key), (one) => one.charCodeAt(0)).buffer },
    toJSON: () => subscription,
    unsubscribe: async () => (localStorage.removeItem(KEPT), true),
  });
  const { prototype } = PushManager;
  prototype.getSubscription = async () => (localStorage.getItem(KEPT) ? made(localStorage.getItem(KEPT)) : null);
  prototype.subscribe = async ({ applicationServerKey }) => {
    localStorage.setItem(KEPT, applicationServerKey);
    return made(applicationServerKey);
  };
})()"""


async def test_what_the_server_sent_is_shown_replaced_and_leads_to_its_message(
    browser: Browser, tmp_path: Path
) -> None:
    key = make_key(tmp_path / "vapid.pem")
    env = {
        "CHAT__PORTS__PUSH_PROVIDER": "webpush",
        "CHAT__PUSH_PROVIDER__WEBPUSH__SUBJECT": "mailto:ops@example.org",
        "CHAT__PUSH_PROVIDER__WEBPUSH__KEY_FILE": str(tmp_path / "vapid.pem"),
        "CHAT__PUSH_PROVIDER__WEBPUSH__INTERNAL": "true",
        "CHAT__FANOUT__PUSH_DELAY": "0",
        "CHAT__GATEWAY__LEASE": "0.5",
    }
    server = Server(tmp_path / "data", env=env)
    async with push_service() as service:
        service.key = key
        phone = service.browser()
        await server.start()
        try:
            ada = await Person.arrive(browser, server.url, "Ada", permissions=["notifications"])
            await ada.context.add_init_script(STUB.replace("SUBSCRIPTION", json.dumps(phone.subscription())))
            await ada.page.reload()
            await ada.log_in()
            bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
            await ada.page.evaluate(CALL, ["group.create", {"name": "Lunch", "members": [await bob.id()]}])
            await ada.open("Lunch")
            room = ada.page.url.partition("#/")[2]
            await ada.page.reload()  # allowed already: it subscribes without asking
            await until(lambda: subscribed(ada), what="the server knows this browser")
            await ada.page.goto("about:blank")
            said = {"conversation": room, "kind": "text", "body": {"text": "at noon?"}}
            await bob.page.evaluate(CALL, ["submit", {**said, "ref": "one"}])
            await until(lambda: len(phone.received) == 1, what="the push service was told")
            first = phone.received[0].payload
            await bob.page.evaluate(CALL, ["submit", {**said, "body": {"text": "or at one?"}, "ref": "two"}])
            await until(lambda: phone.received[0].payload != first, what="the later one has replaced it there")
            second = phone.received[0].payload
            assert service.refused == []
            await ada.page.goto(server.url)
            await expect(ada.page.locator(".me-name")).to_have_text("Ada")
            for payload, body in ((first, "at noon?"), (second, "or at one?")):
                await deliver(ada, server.url, payload)
                await until(lambda: shown(ada, [["Lunch", body, room]]), what=f"{body} is shown, alone")  # noqa: B023
            (worker,) = ada.context.service_workers
            await worker.evaluate(
                """async () => {
                  const [notification] = await self.registration.getNotifications();
                  self.dispatchEvent(new NotificationEvent("notificationclick", { notification }));
                }"""
            )
            await expect(ada.page.locator(".thread-head h1")).to_have_text("Lunch")
            assert ada.page.url.endswith(f"#/{room}/{second['notification']['data']['seq']}")
            await ada.page.get_by_role("button", name="Menu").click()
            await ada.page.get_by_role("menuitem", name="Log out").click()
            await expect(ada.page.locator(".login-form").first).to_be_visible()
            assert await ada.page.evaluate('localStorage.getItem("test.subscription")') is None
            assert ada.problems == []
        finally:
            await server.stop()


async def subscribed(person: Person) -> bool:
    return await person.page.evaluate('localStorage.getItem("interesting-chat.pushed")') is not None


async def shown(person: Person, wanted: list[list[str]]) -> bool:
    found: list[list[str]] = await person.page.evaluate(SHOWN)
    return found == wanted
