"""What one writes: drafts, edits, input methods, mentions, files before they leave, the microphone."""

from __future__ import annotations

import re

from playwright.async_api import Browser, expect

from tests.e2e.person import Person
from tests.e2e.server import Server
from tests.e2e.test_files import BRING
from tests.e2e.test_marks import CALL, two

# A key that an input method takes, as browsers tell it.
COMPOSING = """([selector, key]) => {
  const field = document.querySelector(selector);
  field.focus();
  field.dispatchEvent(new CompositionEvent("compositionstart", { bubbles: true }));
  const options = { key, bubbles: true, cancelable: true, isComposing: true, keyCode: 229 };
  field.dispatchEvent(new KeyboardEvent("keydown", options));
  field.dispatchEvent(new CompositionEvent("compositionend", { bubbles: true }));
}"""
# Cells copied from a spreadsheet: text, and a picture of it.
CELLS = """async () => {
  const canvas = document.createElement("canvas");
  const blob = await new Promise((resolve) => canvas.toBlob(resolve));
  const data = new DataTransfer();
  data.items.add(new File([blob], "image.png", { type: "image/png" }));
  data.setData("text/plain", "1\\t2");
  const event = new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: data });
  return document.querySelector(".composer-input").dispatchEvent(event);
}"""
WATCH_MICROPHONE = """() => {
  const media = navigator.mediaDevices;
  const real = media.getUserMedia.bind(media);
  window.tracks = [];
  media.getUserMedia = async (wanted) => {
    const stream = await real(wanted);
    window.tracks.push(...stream.getTracks());
    return stream;
  };
}"""
OPEN_TRACKS = "window.tracks.filter(({ readyState }) => readyState === 'live').length"


async def test_a_draft_stays_with_its_chat_and_goes_with_its_user(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.say("one")
    await ada.page.locator(".composer-input").fill("not sent yet")
    await ada.back()
    await expect(ada.row("Bob").locator(".list-preview")).to_have_text("Draft: not sent yet")
    await ada.page.reload()
    await ada.open("Bob")
    await expect(ada.page.locator(".composer-input")).to_have_value("not sent yet")
    await ada.page.get_by_role("button", name="Menu").click()
    await ada.page.get_by_role("menuitem", name="Log out").click()
    eve = Person("Eve", ada.context, ada.page)
    await eve.log_in()
    await eve.find("Bob")
    await expect(eve.page.locator(".composer-input")).to_have_value("")
    assert "not sent yet" not in await eve.page.evaluate("JSON.stringify(localStorage)")
    assert ada.problems + bob.problems == []


async def test_an_edit_that_is_left_is_still_an_edit(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.say("a seceret")
    await ada.has_sent("a seceret")
    await ada.page.locator(".composer-input").fill("a draft beside it")
    await ada.act("a seceret", "Edit")
    await ada.page.locator(".composer-input").fill("a secret")
    await bob.find("Ada")
    await ada.page.keyboard.press("Control+k")  # away, and back
    await ada.page.keyboard.type("Bob")
    await ada.page.keyboard.press("Escape")
    await ada.page.goto(f"{server.url}#/")
    await ada.open("Bob")
    await expect(ada.page.locator(".composer-bar")).to_contain_text("Edit message")
    await ada.page.locator(".composer-input").press("Enter")
    await bob.sees("a secret")
    await expect(bob.page.locator(".message")).to_have_count(1)
    await expect(ada.page.locator(".composer-input")).to_have_value("a draft beside it")
    await ada.act("a secret", "Edit")
    await ada.page.keyboard.press("Escape")
    await expect(ada.page.locator(".composer-input")).to_have_value("a draft beside it")
    await ada.page.goto(f"{server.url}#/")
    await ada.open("Bob")
    await expect(ada.page.locator(".composer-bar")).to_have_count(0)
    assert ada.problems + bob.problems == []


async def test_keys_of_an_input_method_are_its_own(browser: Browser, server: Server) -> None:
    ada, _ = await two(browser, server)
    await ada.find("Bob")
    await ada.say("one")
    await ada.has_sent("one")
    await ada.act("one", "Edit")
    for key in ("Escape", "Enter"):
        await ada.page.evaluate(COMPOSING, [".composer-input", key])
        await expect(ada.page.locator(".composer-bar")).to_contain_text("Edit message")
    await ada.page.keyboard.press("Escape")
    await ada.page.evaluate(COMPOSING, [".composer-input", "Escape"])
    await expect(ada.page.locator(".thread")).to_have_count(1)
    await ada.back()
    await ada.page.get_by_label("Search chats and people").fill("Bob")
    await ada.page.evaluate(COMPOSING, [".search-input", "Enter"])
    await expect(ada.page.locator(".thread")).to_have_count(0)
    await ada.page.get_by_role("button", name="New chat or group").click()
    await ada.page.get_by_role("menuitem", name="New group").click()
    await ada.page.get_by_label("Add people").fill("Bob")
    await ada.page.evaluate(COMPOSING, [".picker input", "Enter"])
    await expect(ada.page.locator(".chip")).to_have_count(0)
    assert ada.problems == []


async def test_mentions_are_the_people_that_were_chosen(browser: Browser, server: Server) -> None:
    """Two have one name; the list opens after Chinese, brackets and full-width signs; everybody is never the first."""
    ada, bob = await two(browser, server)
    namesake = await (await Person.arrive(browser, server.url, "Robert")).log_in()
    await namesake.page.evaluate(CALL, ["user.rename", {"name": "Bob"}])
    members = [await bob.id(), await namesake.id()]
    await ada.page.evaluate(CALL, ["group.create", {"name": "Names", "members": members}])
    await ada.open("Names")
    field = ada.page.locator(".composer-input")
    for begun in ("你好@", "，@", "(@", "＠", "@"):
        await field.fill("")
        await field.press_sequentially(begun)
        await expect(ada.page.get_by_role("option")).to_have_count(3)
        await expect(ada.page.get_by_role("option").last).to_have_text(re.compile("everyone"))
        await expect(ada.page.get_by_role("option").first).to_have_attribute("aria-selected", "true")
    await field.press("ArrowDown")
    await field.press("Enter")  # the second Bob
    await field.press_sequentially("hello")
    await field.press("Enter")
    await ada.has_sent("hello")
    marked = [await person.row("Names").locator(".at").count() for person in (bob, namesake)]
    assert sorted(marked) == [0, 1]
    await field.press_sequentially("@everyone and nobody else")  # typed by hand
    await field.press("Enter")
    await ada.sees("and nobody else")
    assert ada.problems + bob.problems == []


async def test_cells_are_text_and_a_picture_waits_for_its_caption(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    assert await ada.page.evaluate(CELLS) is True  # not taken by the page: the browser pastes the text
    await expect(ada.page.locator("dialog")).to_have_count(0)
    await ada.page.locator(".composer-input").fill("the sea")
    await ada.page.evaluate(BRING, ["paste", "sea.png", 400, 300])
    await expect(ada.page.get_by_label("Add a caption")).to_have_value("the sea")
    await ada.page.keyboard.press("Escape")
    await expect(ada.page.locator(".row[data-seq]")).to_have_count(0)
    await expect(ada.page.locator(".composer-input")).to_have_value("the sea")
    await ada.page.evaluate(BRING, ["paste", "sea.png", 400, 300])
    await ada.page.get_by_label("Add a caption").fill("the sea at night")
    await ada.page.keyboard.press("Enter")
    await bob.open("Ada")
    await bob.sees("the sea at night")
    await expect(bob.row("Ada").locator(".list-preview")).to_have_text("[Picture] the sea at night")
    await expect(ada.page.locator(".composer-input")).to_have_value("")
    assert ada.problems + bob.problems == []


async def test_the_microphone_is_closed_with_the_view(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.page.evaluate(WATCH_MICROPHONE)
    await ada.find("Bob")
    await ada.say("one")
    for leave in ("chat", "session"):
        await ada.page.get_by_role("button", name="Record a voice message").click()
        await ada.page.wait_for_function(f"() => {OPEN_TRACKS} === 1")
        if leave == "chat":
            await ada.page.goto(f"{server.url}#/")
            await ada.page.wait_for_function(f"() => {OPEN_TRACKS} === 0")
            await ada.open("Bob")
        else:
            await ada.page.evaluate(CALL, ["auth.logout", {}])
            await expect(ada.page.locator(".login-form").first).to_be_visible()
            await ada.page.wait_for_function(f"() => {OPEN_TRACKS} === 0")
    assert bob.problems == []


async def test_marks_are_drawn_and_lists_show_none(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.find("Bob")
    await ada.page.locator(".composer-input").fill("very important")
    await ada.page.locator(".composer-input").select_text()
    await ada.page.keyboard.press("Control+b")
    await expect(ada.page.locator(".composer-input")).to_have_value("**very important**")
    await ada.page.keyboard.press("Enter")
    await bob.open("Ada")
    for person, other in ((ada, "Bob"), (bob, "Ada")):
        await expect(person.page.locator(".text strong")).to_have_text("very important")
        await expect(person.row(other).locator(".list-preview")).to_have_text("very important")
        await person.page.reload()
        await expect(person.page.locator(".text strong")).to_have_text("very important")
        await expect(person.row(other).locator(".list-preview")).to_have_text("very important")
    assert ada.problems + bob.problems == []
