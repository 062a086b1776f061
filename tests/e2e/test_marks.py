"""The small marks of the page: who is there, which day it is, what failed; and the page in Chinese."""

from __future__ import annotations

from playwright.async_api import Browser, expect

from tests.e2e.person import Person
from tests.e2e.server import Server

# A command over HTTP with the page's token.
CALL = """async ([command, params]) => {
  const token = localStorage.getItem("interesting-chat.token");
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const answer = await fetch(`api/${command}`, { method: "POST", headers, body: JSON.stringify(params) });
  if (!answer.ok) throw new Error(await answer.text());
}"""


async def two(browser: Browser, server: Server) -> tuple[Person, Person]:
    ada = await (await Person.arrive(browser, server.url, "Ada")).log_in()
    bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
    return ada, bob


async def test_presence_days_groups_and_emoji(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.say("one")
    await ada.say("two")
    await ada.has_sent("two")
    await expect(ada.page.locator(".thread-subtitle")).to_have_text("")  # a stranger, of whom nothing is told
    await bob.open("Ada")
    await expect(bob.page.locator(".thread-subtitle")).to_have_text("online")
    await bob.say("three")
    await ada.sees("three")
    await expect(ada.page.locator(".thread-subtitle")).to_have_text("online")
    await expect(ada.row("Bob").locator(".presence")).to_have_count(1)
    await expect(ada.page.locator(".day")).to_have_text(["Today"])
    marks = [await ada.message(text).get_attribute("class") or "" for text in ("one", "two", "three")]
    assert [("first" in mark.split(), "last" in mark.split(), "mine" in mark.split()) for mark in marks] == [
        (True, False, True),
        (False, True, True),
        (True, True, False),
    ]
    await ada.page.locator(".composer-input").fill("so: ")
    await ada.page.get_by_role("button", name="Emoji").click()
    await ada.page.get_by_label("Search emoji").fill("tada")
    await ada.page.get_by_role("button", name="🎉").click()
    await ada.page.keyboard.press("Escape")
    await expect(ada.page.locator(".composer-input")).to_have_value("so: 🎉")
    await ada.page.locator(".composer-input").press("Enter")
    await bob.sees("so: 🎉")
    await bob.context.close()
    await expect(ada.page.locator(".thread-subtitle")).to_have_text("offline")
    await expect(ada.row("Bob").locator(".presence")).to_have_count(0)
    await ada.page.reload()
    await expect(ada.page.locator(".thread-subtitle")).to_have_text("offline")
    assert ada.problems == []


async def test_presence_begins_with_a_contact(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await expect(ada.page.locator(".thread-subtitle")).to_have_text("")
    await ada.page.evaluate(CALL, ["contact.request", {"user": await bob.id(), "text": "hello"}])
    await bob.page.locator(".requests").click()
    await bob.page.get_by_role("button", name="Accept").click()
    await expect(ada.page.locator(".thread-subtitle")).to_have_text("online")
    await bob.context.close()
    await expect(ada.page.locator(".thread-subtitle")).to_have_text("offline")
    assert ada.problems == []


async def test_a_message_that_is_refused_says_why_and_can_be_sent_again(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.page.evaluate(CALL, ["group.create", {"name": "Quiet", "members": [await bob.id()]}])
    await ada.open("Quiet")
    await bob.open("Quiet")
    room = ada.page.url.partition("#/")[2]
    mute = {"conversation": room, "user": await bob.id()}
    await ada.page.evaluate(CALL, ["group.mute", {**mute, "until": 2**50}])
    # Who knows that he is muted is told so beside the field.
    await expect(bob.page.locator(".composer-silent")).to_contain_text("may not write")
    await bob.say("may I?")
    failure = bob.page.locator(".failure")
    await expect(failure).to_contain_text("muted")
    await bob.page.reload()
    await expect(failure).to_contain_text("muted")  # it is kept, and not sent by itself
    await ada.page.evaluate(CALL, ["group.mute", {**mute, "until": 0}])
    await failure.get_by_role("button", name="Try again").click()
    await ada.sees("may I?")
    await expect(failure).to_have_count(0)
    assert ada.problems + bob.problems == []


async def test_the_page_speaks_chinese(browser: Browser, server: Server) -> None:
    mei = await Person.arrive(browser, server.url, "小红", locale="zh-CN", phone=True, color_scheme="dark")
    await expect(mei.page.get_by_text("用手机相机扫码，并在手机上确认。").first).to_be_visible()
    await mei.log_in()
    await expect(mei.page.get_by_text("还没有聊天")).to_be_visible()
    bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
    await bob.find("小红")
    await bob.say("你好")
    await mei.open("Bob")
    await mei.say("收到")
    await bob.sees("收到")
    await expect(mei.message("收到").get_by_role("img", name="已读")).to_be_visible()
    await expect(mei.page.locator("html")).to_have_attribute("lang", "zh")
    assert mei.problems + bob.problems == []
