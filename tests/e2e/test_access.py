"""The page for people who do not see it, and for people without a mouse."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]  # ships no stubs
from playwright.async_api import Browser, Page, expect

from tests.e2e.line import two_with_a_line
from tests.e2e.person import BACK, WAIT, Person
from tests.e2e.server import Server

FOCUSED = "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"


# What fades in has less contrast on its way than where it ends; what turns for ever is not waited for.
SETTLED = """Promise.all(
  document.getAnimations()
    .filter((one) => one.effect && one.effect.getComputedTiming().endTime !== Infinity)
    .map((one) => one.finished.catch(() => null))
)"""


async def serious(page: Page) -> list[dict[str, Any]]:
    """What axe finds serious or critical once nothing moves any more, as few words."""
    await page.evaluate(f"() => {SETTLED}.then(() => null)")
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
    await ada.details()
    assert await serious(ada.page) == []
    await ada.details()
    await ada.back()
    await bob.say("more")
    await expect(ada.row("Bob").locator(".unread")).to_be_visible(timeout=WAIT)
    assert await serious(ada.page) == []
    await ada.page.get_by_role("button", name="New chat or group").click()
    await ada.page.get_by_role("menuitem", name="New group").click()
    assert await serious(ada.page) == []
    assert ada.problems + bob.problems == []


async def test_a_key_right_after_a_sheet_closed_means_what_lies_under_it(browser: Browser, server: Server) -> None:
    """The browser tells of a dialog's end a moment later; Escape before that leaves the conversation all the same."""
    await (await Person.arrive(browser, server.url, "Bob")).log_in()
    ada = await (await Person.arrive(browser, server.url, "Ada", phone=True)).log_in()
    await ada.find("Bob")
    await ada.details()
    await (
        ada.page.locator("dialog.sheet")
        .get_by_role("button", name="Close")
        .evaluate(
            """(button) => {
          button.click();
          document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
        }"""
        )
    )
    await expect(ada.page.locator(".thread")).to_have_count(0)
    assert ada.problems == []


async def test_by_keyboard_alone(browser: Browser, server: Server) -> None:
    """Login, search, send, reply, edit, recall, make a group, walk the list: with keys, and focus always somewhere."""
    bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
    ada = await Person.arrive(browser, server.url, "Ada")
    keys = ada.page.keyboard

    async def focused() -> str:
        label: str = await ada.page.evaluate(FOCUSED)
        return label

    async def focus_is_on(label: str) -> None:
        await ada.page.wait_for_function(f"label => ({FOCUSED}).includes(label)", arg=label)

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
    await focus_is_on("Bob")
    await keys.press("Enter")
    await expect(ada.page.locator(".thread-head h1")).to_have_text("Bob")
    await focus_is_on("Write a message")
    await keys.type("with keys")
    await keys.press("Enter")
    await bob.open("Ada")
    await bob.sees("with keys")
    await bob.say("well done")
    await ada.sees("well done")

    await keys.press("Shift+Tab")  # to the newest message
    await focus_is_on("well done")
    await keys.press("Enter")
    await ada.page.get_by_role("menuitem", name="Reply").wait_for()
    await focus_is_on("Reply")
    await keys.press("Enter")
    await keys.type("thank you")
    await keys.press("Enter")
    await expect(bob.message("thank you").locator(".quote-text")).to_have_text("well done", timeout=WAIT)

    await ada.has_sent("thank you")
    await keys.press("ArrowUp")  # in an empty text: edit what one said last
    await keys.type("!")
    await keys.press("Enter")
    await bob.sees("thank you!")

    await keys.press("Shift+Tab")
    await keys.press("ArrowUp")
    await keys.press("ArrowUp")
    await focus_is_on("with keys")
    await keys.press("Delete")
    await ada.page.get_by_role("dialog").wait_for()
    await focus_is_on("Recall")
    await keys.press("Enter")
    await expect(bob.page.locator(".timeline .recalled")).to_be_visible(timeout=WAIT)
    await focus_is_on("Write a message")

    await keys.press("Escape")  # back to the list
    await focus_is_on("Search chats and people")
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
    await expect(ada.page.locator("dialog[open]")).to_have_count(0)
    await keys.press("Escape")
    await focus_is_on("Search chats and people")
    await expect(ada.page.locator(".list-row").first).to_contain_text("Keys", timeout=WAIT)
    await keys.press("ArrowDown")
    await focus_is_on("Keys")
    await keys.press("ArrowDown")
    await focus_is_on("Bob")
    await keys.press("Enter")
    await expect(ada.page.locator(".thread-head h1")).to_have_text("Bob")
    assert ada.problems == []


async def test_a_menu_follows_its_message(browser: Browser, server: Server) -> None:
    """Opened while the message is on its way it stays open, and lets one recall when the server has the message."""
    ada, bob, line = await two_with_a_line(browser, server)
    await ada.has_sent("one")
    await line.cut(ada)
    await ada.say("a slip")
    await expect(ada.page.get_by_role("img", name="Sending")).to_have_count(1)
    await ada.page.keyboard.press("ArrowUp")  # edits the last message, not the one before
    await expect(ada.page.locator(".composer-input")).to_have_value("")
    await ada.message("a slip").click(button="right")
    recall = ada.page.get_by_role("menuitem", name="Recall")
    await expect(recall).to_be_disabled()
    await expect(ada.page.get_by_role("menuitem", name="Copy text")).to_be_focused()
    line.blocked = False
    await bob.sees("a slip", BACK)
    await expect(recall).to_be_enabled()
    await expect(ada.page.get_by_role("menuitem", name="Copy text")).to_be_focused()
    await recall.click()
    await ada.page.get_by_role("dialog").get_by_role("button", name="Recall").click()
    await expect(bob.page.locator(".timeline .recalled")).to_have_count(1)

    await bob.message("one").click(button="right")
    await expect(bob.page.get_by_role("menuitem", name="Reply")).to_be_visible()
    await ada.act("one", "Recall")
    await ada.page.get_by_role("dialog").get_by_role("button", name="Recall").click()
    await expect(bob.page.get_by_role("menu")).to_have_count(0)  # there is nothing left that could be done
    assert ada.problems + bob.problems == []
