"""The page for people who do not see it, and for people without a mouse."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]  # ships no stubs
from playwright.async_api import Browser, Page, expect

from tests.e2e.person import WAIT, Person
from tests.e2e.server import Server


async def serious(page: Page) -> list[dict[str, Any]]:
    """What axe finds serious or critical, as few words."""
    found = (await Axe().run(page)).response["violations"]
    return [
        {"rule": one["id"], "where": [node["html"][:160] for node in one["nodes"]][:5]}
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
async def test_axe_finds_nothing_serious(browser: Browser, server: Server, scheme: str, phone: bool) -> None:
    bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
    ada = await Person.arrive(browser, server.url, "Ada", phone=phone, color_scheme=scheme)
    await ada.page.locator(".login-form").first.wait_for()
    assert await serious(ada.page) == []
    await ada.log_in()
    assert await serious(ada.page) == []  # nothing yet
    await ada.find("Bob")
    await ada.say("hello https://example.org")
    await bob.open("Ada")
    await bob.say("hello Ada")
    await ada.sees("hello Ada")
    await ada.act("hello Ada", "Reply")
    await ada.say("an answer")
    await bob.say("a slip")
    await bob.act("a slip", "Recall")
    await bob.page.get_by_role("dialog").get_by_role("button", name="Recall").click()
    await ada.page.locator(".timeline .recalled").wait_for(timeout=WAIT)
    assert await serious(ada.page) == []
    await ada.page.get_by_role("button", name="Emoji").click()
    assert await serious(ada.page) == []
    await ada.page.keyboard.press("Escape")
    await ada.message("an answer").click(button="right")
    await ada.page.get_by_role("menu").wait_for()
    assert await serious(ada.page) == []
    await ada.page.keyboard.press("Escape")
    await ada.page.get_by_role("button", name="Chat details").click()
    assert await serious(ada.page) == []
    await ada.page.get_by_role("dialog").get_by_role("button", name="Close").click()
    await ada.back()
    await bob.say("more")
    await expect(ada.row("Bob").locator(".unread")).to_be_visible(timeout=WAIT)
    assert await serious(ada.page) == []
    await ada.page.get_by_role("button", name="New chat or group").click()
    await ada.page.get_by_role("menuitem", name="New group").click()
    assert await serious(ada.page) == []
    assert ada.problems + bob.problems == []


async def test_by_keyboard_alone(browser: Browser, server: Server) -> None:
    """Login, search, send, reply, edit, recall, make a group, walk the list: with keys, and focus always somewhere."""
    bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
    ada = await Person.arrive(browser, server.url, "Ada")
    keys = ada.page.keyboard

    async def focused() -> str:
        label: str = await ada.page.evaluate(
            "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
        )
        return label

    async def tab_to(label: str, key: str = "Tab") -> None:
        for _ in range(30):
            if (await focused()).startswith(label):
                return
            await keys.press(key)
        raise AssertionError(f"{label} was not reached, but {await focused()}")

    await ada.page.locator("input[name=name]").wait_for()
    await tab_to("Name")
    await keys.type("Ada")
    await keys.press("Enter")
    await expect(ada.page.locator(".me-name")).to_have_text("Ada", timeout=WAIT)
    await tab_to("Search chats and people")
    await keys.type("Bob")
    await ada.page.locator(".person").wait_for()
    await keys.press("ArrowDown")
    assert "Bob" in await focused()
    await keys.press("Enter")
    await expect(ada.page.locator(".thread-head h1")).to_have_text("Bob")
    assert await focused() == "Write a message"
    await keys.type("with keys")
    await keys.press("Enter")
    await bob.open("Ada")
    await bob.sees("with keys")
    await bob.say("well done")
    await ada.sees("well done")

    await keys.press("Shift+Tab")  # to the newest message
    assert "well done" in await focused()
    await keys.press("Enter")
    await ada.page.get_by_role("menuitem", name="Reply").wait_for()
    assert "Reply" in await focused()
    await keys.press("Enter")
    await keys.type("thank you")
    await keys.press("Enter")
    await expect(bob.message("thank you").locator(".quote-text")).to_have_text("well done", timeout=WAIT)

    await keys.press("ArrowUp")  # in an empty text: edit what one said last
    await keys.type("!")
    await keys.press("Enter")
    await bob.sees("thank you!")

    await keys.press("Shift+Tab")
    await keys.press("ArrowUp")
    await keys.press("ArrowUp")
    assert "with keys" in await focused()
    await keys.press("Delete")
    await ada.page.get_by_role("dialog").wait_for()
    assert "Recall" in await focused()
    await keys.press("Enter")
    await expect(bob.page.locator(".timeline .recalled")).to_be_visible(timeout=WAIT)
    assert await focused() == "Write a message"

    await keys.press("Escape")  # back to the list
    assert await focused() == "Search chats and people"
    await tab_to("New chat or group", "Shift+Tab")
    await keys.press("Enter")
    await keys.press("ArrowDown")
    await keys.press("Enter")
    await ada.page.get_by_role("dialog", name="New group").wait_for()
    await tab_to("Group name")
    await keys.type("Keys")
    await tab_to("Add people")
    await keys.type("Bob")
    await ada.page.locator(".picker-results .person", has_text="Bob").wait_for()
    await keys.press("Enter")
    await tab_to("Create group")
    await keys.press("Enter")
    await expect(ada.page.locator(".thread-head h1")).to_have_text("Keys", timeout=WAIT)
    await keys.press("Escape")
    await keys.press("ArrowDown")
    await keys.press("ArrowDown")
    assert "Bob" in await focused()
    await keys.press("Enter")
    await expect(ada.page.locator(".thread-head h1")).to_have_text("Bob")
    assert ada.problems == []
