"""Login by a phone's camera: the link of the code opened on a phone, confirmed there, and the screen is in."""

from __future__ import annotations

from playwright.async_api import Browser, Page, expect

from tests.e2e.person import PHONE, WAIT, Person
from tests.e2e.server import Server


async def scan(browser: Browser, screen: Page) -> Page:
    """A phone whose camera has read the code."""
    await expect(screen.locator("img.qr")).to_be_visible(timeout=WAIT)
    link = await screen.locator(".login-link").get_attribute("href")
    assert link is not None
    phone = await (await browser.new_context(locale="en-GB", **PHONE)).new_page()  # type: ignore[arg-type]
    await phone.goto(link)
    return phone


async def test_log_in_by_scanning_and_chat(browser: Browser, server: Server) -> None:
    ada = await Person.arrive(browser, server.url, "Ada")
    phone = await scan(browser, ada.page)
    await expect(ada.page.get_by_text("Scanned. Now confirm on your phone.").first).to_be_visible(timeout=WAIT)
    await expect(phone.get_by_text("127.0.0.1").first).to_be_visible()
    await phone.locator("form", has=phone.locator("input[value=create]")).get_by_label("Name").fill("Ada")
    await phone.get_by_role("button", name="Join and log in there").click()
    await expect(phone.get_by_role("heading", name="Logged in")).to_be_visible()
    await expect(ada.page.locator(".me-name")).to_have_text("Ada", timeout=WAIT)
    bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
    await bob.find("Ada")
    await bob.say("scanned?")
    await ada.open("Bob")
    await ada.say("scanned.")
    await bob.sees("scanned.")

    # The phone is known now: another screen is one press away.
    other = await Person.arrive(browser, server.url, "Ada")
    await expect(other.page.locator("img.qr")).to_be_visible(timeout=WAIT)
    link = await other.page.locator(".login-link").get_attribute("href")
    assert link is not None
    await phone.goto(link)
    await phone.get_by_role("button", name="Log in as Ada").click()
    await expect(other.row("Bob")).to_be_visible(timeout=WAIT)
    assert ada.problems + bob.problems + other.problems == []


async def test_refused_on_the_phone(browser: Browser, server: Server) -> None:
    ada = await Person.arrive(browser, server.url, "Ada")
    phone = await scan(browser, ada.page)
    await phone.get_by_role("button", name="No, refuse").click()
    await expect(ada.page.get_by_text("The login was refused on the phone.").first).to_be_visible(timeout=WAIT)
    await ada.page.get_by_role("button", name="Show a new code").click()
    phone = await scan(browser, ada.page)
    await expect(phone.get_by_role("heading", name="Log in on another screen?")).to_be_visible()
    assert ada.problems == []
