"""Unread is a place, kept until it is read."""

from __future__ import annotations

from playwright.async_api import Browser, expect

from tests.e2e.person import Person
from tests.e2e.server import Server
from tests.e2e.test_marks import CALL, two


async def fill(person: Person, other: Person, count: int) -> None:
    """So many messages in a group, said by the API."""
    await person.page.evaluate(CALL, ["group.create", {"name": "News", "members": [await other.id()]}])
    await person.open("News")
    room = person.page.url.partition("#/")[2]
    for n in range(1, count + 1):
        message = {"conversation": room, "kind": "text", "body": {"text": f"number {n} of many"}}
        await person.page.evaluate(CALL, ["submit", message])


async def test_many_unread_messages_open_where_one_left_off(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await fill(ada, bob, 130)
    await expect(bob.row("News").locator(".unread")).to_have_text("130")
    await bob.open("News")
    await expect(bob.page.locator(".new-line")).to_have_count(1)
    await expect(bob.page.locator(".new-line")).to_be_in_viewport()
    await bob.sees("number 1 of many")
    await expect(bob.page.locator(".text", has_text="number 1 of many")).to_be_in_viewport()
    # What is on the screen is read, and no more.
    unread = bob.row("News").locator(".unread")
    await expect(unread).not_to_have_text("130")
    left = int(await unread.text_content() or "0")
    assert 80 < left < 130
    await bob.page.get_by_role("button", name="To the newest message").click()
    await bob.sees("number 130 of many")
    await expect(unread).to_have_count(0)
    await expect(bob.page.locator(".new-line")).to_have_count(0)
    assert ada.problems + bob.problems == []


async def test_no_line_over_what_is_mine(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.say("one")
    await bob.open("Ada")
    await bob.sees("one")
    await expect(bob.row("Ada").locator(".unread")).to_have_count(0)
    await bob.page.evaluate("document.hasFocus = () => false")  # he looks elsewhere
    await ada.say("two")
    await bob.sees("two")
    await expect(bob.page.locator(".new-line")).to_have_count(1)
    await bob.page.evaluate("delete document.hasFocus")
    await bob.say("an answer")
    await ada.sees("an answer")
    await expect(bob.page.locator(".new-line")).to_have_count(0)
    # What is read can be marked as unread, on all of one's devices, until it is opened again.
    await expect(ada.row("Bob").locator(".unread")).to_have_count(0)
    await ada.back()
    other = await (await Person.arrive(browser, server.url, "Ada")).log_in()
    await ada.row("Bob").get_by_role("button").click(button="right")
    await ada.page.get_by_role("menuitem", name="Mark as unread").click()
    for page in (ada, other):
        await expect(page.row("Bob").get_by_role("img", name="Marked as unread")).to_be_visible()
    await other.open("Bob")
    for page in (ada, other):
        await expect(page.row("Bob").get_by_role("img", name="Marked as unread")).to_have_count(0)
    assert ada.problems + bob.problems == []


async def test_list_and_page_say_the_same_before_and_after_a_reload(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.page.evaluate(CALL, ["group.create", {"name": "Same", "members": [await bob.id()]}])
    await ada.open("Same")
    preview = ada.row("Same").locator(".list-preview")

    async def stays(text: str) -> None:
        await expect(preview).to_have_text(text)
        await ada.page.reload()
        await expect(preview).to_have_text(text)

    room = ada.page.url.partition("#/")[2]
    await ada.page.evaluate(CALL, ["submit", {"conversation": room, "kind": "text", "body": {"text": "two\n\nlines"}}])
    await stays("You: two lines")
    await ada.act("lines", "Recall")
    await ada.page.get_by_role("dialog").get_by_role("button", name="Recall").click()
    await stays("You recalled a message")
    await ada.page.evaluate(CALL, ["group.update", {"conversation": room, "name": "Same"}])
    await ada.page.evaluate(CALL, ["group.role", {"conversation": room, "user": await bob.id(), "role": "admin"}])
    await stays("You changed a role")
    assert ada.problems == []


async def test_today_ends_at_midnight(browser: Browser, server: Server) -> None:
    ada = await Person.arrive(browser, server.url, "Ada")
    await ada.page.clock.install()
    await ada.page.reload()
    await ada.log_in()
    bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
    await bob.find("Ada")
    await bob.say("hello")
    await ada.open("Bob")
    await expect(ada.page.locator(".day")).to_have_text(["Today"])
    await ada.page.clock.fast_forward(24 * 3600 * 1000)
    await expect(ada.page.locator(".day")).to_have_text(["Yesterday"])
    assert ada.problems + bob.problems == []


async def test_a_chat_in_which_something_happens_all_the_time_is_read_all_the_same(
    browser: Browser, server: Server
) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.say("one")
    await bob.open("Ada")
    # More often than the pause after which what is seen is read, as new messages would.
    await bob.page.evaluate("setInterval(() => globalThis.dispatchEvent(new Event('focus')), 100)")
    await ada.say("two")
    await bob.sees("two")
    await expect(bob.row("Ada").locator(".unread")).to_have_count(0)
    assert ada.problems + bob.problems == []
