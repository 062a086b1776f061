"""Pictures, files and voice in the page: pasted, dropped, picked, recorded; seen, opened, recalled, gone."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from playwright.async_api import Browser, Locator, expect

from tests.e2e.person import WAIT, Person
from tests.e2e.server import Server
from tests.faults_proxy import FaultsProxy

# A picture as the clipboard or the mouse brings it.
BRING = """async ([how, name, width, height]) => {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d");
  for (let n = 0; n < 400; n += 1) {
    pen.fillStyle = `hsl(${n * 7 % 360} 70% 50%)`;
    pen.fillRect((n * 37) % width, (n * 91) % height, 60, 60);
  }
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([blob], name, { type: "image/png" }));
  const options = { bubbles: true, cancelable: true, dataTransfer, clipboardData: dataTransfer };
  if (how === "paste") document.querySelector(".composer-input").dispatchEvent(new ClipboardEvent("paste", options));
  else document.querySelector(".timeline").dispatchEvent(new DragEvent("drop", options));
}"""


async def drawn(picture: Locator, least: int = 1) -> None:
    """Waits until an image has been loaded and is so many pixels wide: a new address makes it start over."""
    for_width = "([image, least]) => image.complete && image.naturalWidth >= least"
    await expect(picture).to_have_attribute("src", re.compile(r"\S"), timeout=WAIT)
    handle = await picture.element_handle()
    await picture.page.wait_for_function(for_width, arg=[handle, least], timeout=WAIT)


async def two(browser: Browser, server: Server, ada_url: str | None = None) -> tuple[Person, Person]:
    ada = await (await Person.arrive(browser, ada_url or server.url, "Ada")).log_in()
    bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
    await ada.find("Bob")
    await ada.say("look")
    await bob.open("Ada")
    return ada, bob


async def test_a_picture_pasted_seen_opened_recalled_gone(browser: Browser, server: Server) -> None:
    ada, bob = await two(browser, server)
    await ada.page.evaluate(BRING, ["paste", "holiday.png", 1200, 800])
    await ada.send_files()
    picture = bob.page.locator(".picture img")
    await drawn(picture)
    box = await picture.bounding_box()
    assert box is not None
    assert abs(box["width"] / box["height"] - 1.5) < 0.05
    await expect(bob.row("Ada").locator(".list-preview")).to_have_text("[Picture]")
    await bob.page.locator(".picture").click()
    viewer = bob.page.locator(".viewer-image")
    await drawn(viewer, 601)
    await bob.page.keyboard.press("Escape")
    await expect(viewer).to_have_count(0)
    await bob.page.locator(".picture").click()
    await drawn(viewer, 601)
    await ada.page.locator(".picture").click(button="right")
    await ada.page.get_by_role("menuitem", name="Recall").click()
    await ada.page.get_by_role("dialog").get_by_role("button", name="Recall").click()
    await expect(viewer).to_have_count(0, timeout=WAIT)
    for person in (ada, bob):
        await expect(person.page.locator(".timeline .recalled")).to_have_count(1, timeout=WAIT)
        await expect(person.page.locator(".picture")).to_have_count(0)
        await person.page.reload()
        await expect(person.page.locator(".timeline .recalled")).to_have_count(1, timeout=WAIT)
        await expect(person.page.locator(".picture")).to_have_count(0)
        assert person.problems == []


async def test_several_pictures_a_file_and_a_voice(browser: Browser, server: Server, tmp_path: Path) -> None:
    ada, bob = await two(browser, server)
    for number in range(4):
        await ada.page.evaluate(BRING, ["drop", f"{number}.png", 300, 300 + number])
        await ada.send_files()
    await expect(bob.page.locator(".album .picture img[src]")).to_have_count(4, timeout=WAIT)
    await bob.page.locator(".album .picture").nth(1).click()
    await expect(bob.page.locator(".viewer-caption")).to_have_text("2 / 4")
    await bob.page.keyboard.press("ArrowRight")
    await expect(bob.page.locator(".viewer-caption")).to_have_text("3 / 4")
    await bob.page.keyboard.press("Escape")

    report = tmp_path / "<b>report 明天.txt"
    report.write_text("all is well\n" * 1000)
    await ada.page.locator("input[type=file]").set_input_files(report)
    await ada.send_files()
    card = bob.page.locator(".attachment .card")
    await expect(card.locator(".card-title")).to_have_text("<b>report 明天.txt", timeout=WAIT)
    await expect(card.locator(".card-detail")).to_have_text("12 kB")
    async with bob.page.expect_download() as downloading:
        await card.click()
    download = await downloading.value
    assert Path(await download.path()).read_text() == report.read_text()  # noqa: ASYNC240  # a small local file

    await ada.page.get_by_role("button", name="Record a voice message").click()
    await asyncio.sleep(1.5)
    await ada.page.locator(".recording .send").click()
    await bob.page.locator(".voice-player").get_by_role("button", name="Play").click(timeout=WAIT)
    await expect(bob.page.locator(".voice-bar.played").first).to_be_visible(timeout=WAIT)
    assert ada.problems + bob.problems == []


async def test_what_is_refused_says_why_and_can_be_discarded(browser: Browser, server: Server, tmp_path: Path) -> None:
    ada, _ = await two(browser, server)
    nothing = tmp_path / "nothing.txt"
    nothing.write_text("")
    await ada.page.locator("input[type=file]").set_input_files(nothing)
    await ada.send_files()
    failure = ada.page.locator(".failure")
    await expect(failure).to_contain_text("there is nothing in this file", timeout=WAIT)
    await expect(failure.get_by_role("button", name="Try again")).to_have_count(0)
    await expect(ada.page.locator(".new-line")).to_have_count(0)
    await failure.get_by_role("button", name="Discard").click()
    await expect(failure).to_have_count(0)
    assert ada.problems == []


async def test_files_of_any_type_arrive(browser: Browser, server: Server, tmp_path: Path) -> None:
    """Those that are not taken as what they call themselves go as bytes."""
    ada, bob = await two(browser, server)
    contents = {
        "page.html": b"<script>alert(1)</script>",
        "utf-16.txt": "text in UTF-16".encode("utf-16"),
        "photo.bmp": b"BM" + bytes(60),
        "no picture.png": b"text",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        await ada.page.locator("input[type=file]").set_input_files(tmp_path / name)
        await ada.send_files()
        card = bob.page.locator(".attachment .card", has_text=name)
        await expect(card).to_be_visible(timeout=WAIT)
        async with bob.page.expect_download() as downloading:
            await card.click()
        assert Path(await (await downloading.value).path()).read_bytes() == content  # noqa: ASYNC240
    # A browser writes each refused request to its console; a mistake of the page is something else.
    assert bob.problems == []


async def test_an_upload_goes_on_after_the_line_was_cut(browser: Browser, server: Server) -> None:
    async with FaultsProxy(("127.0.0.1", server.port)) as line:
        ada, bob = await two(browser, server, f"http://127.0.0.1:{line.port}/")
        line.rate = 60_000
        await ada.page.evaluate(BRING, ["paste", "large.png", 1600, 1600])
        await ada.send_files()
        await ada.page.locator(".upload progress").wait_for()
        await line.down()
        await ada.say("a text beside it")
        await expect(ada.page.locator(".banner")).to_be_visible(timeout=WAIT)
        line.rate = None
        await line.up()
        await expect(bob.page.locator(".picture img[src]")).to_have_count(1, timeout=60_000)
        await bob.sees("a text beside it")
        await expect(ada.page.locator(".upload, .failure")).to_have_count(0, timeout=WAIT)
        assert ada.problems + bob.problems == []


async def test_the_days_quota_is_told_in_both_languages(browser: Browser, tmp_path: Path) -> None:
    server = Server(tmp_path / "data", env={"CHAT__FILES__OSS__DAILY_FILES": "1"})
    await server.start()
    try:
        ada = await (await Person.arrive(browser, server.url, "Ada")).log_in()
        ming = await (await Person.arrive(browser, server.url, "小明", locale="zh-CN")).log_in()
        await ada.find("小明")
        await ada.say("look")
        await ming.open("Ada")
        for person, words in ((ada, "limit for files is reached"), (ming, "今天的文件额度已用完")):
            for number in range(2):
                await person.page.evaluate(BRING, ["paste", f"{number}.png", 300, 200])
                await person.send_files()
            failure = person.page.locator(".failure")
            await expect(failure).to_contain_text(words, timeout=WAIT)
            await expect(failure).to_contain_text(re.compile(r"\d:\d\d"))
            await failure.get_by_role("button").last.click()
            await expect(failure).to_have_count(0)
        assert ada.problems + ming.problems == []
    finally:
        await server.stop()
