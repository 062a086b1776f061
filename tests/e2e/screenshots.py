"""Takes the pictures of the README: `python -m tests.e2e.screenshots [FOLDER]`, by default into docs/screenshots."""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps
from playwright.async_api import Browser, async_playwright, expect

from tests.e2e.conftest import FLAGS, chromium
from tests.e2e.person import WAIT, Person
from tests.e2e.server import Server
from tests.e2e.test_files import drawn

TALK = [
    ("Bob", "Good morning! Shall we try the new noodle place today? 🍜"),
    ("Mei", "好啊！十二点半怎么样？"),
    ("Ada", "Half past twelve is fine."),
    ("Ada", "I book a table for four."),
    ("Bob", "Here is the menu: https://example.org/noodles/menu?lang=en"),
    ("Mei", "🎉"),
    ("Carlos", "Count me in. I come by bike, so maybe five minutes late."),
    ("Ada", "No hurry, we keep a seat for you."),
]


async def group(person: Person, name: str, members: list[str]) -> None:
    await person.page.get_by_role("button", name="New chat or group").click()
    await person.page.get_by_role("menuitem", name="New group").click()
    await person.page.get_by_label("Group name").fill(name)
    for member in members:
        await person.page.get_by_label("Add people").fill(member)
        await person.page.locator(".picker-results .person", has_text=member).click()
    await person.page.get_by_role("button", name="Create group").click()
    await expect(person.page.locator(".thread-head h1")).to_have_text(name)


async def talk(browser: Browser, url: str) -> dict[str, Person]:
    people = {
        name: await (await Person.arrive(browser, url, name)).log_in()
        for name in ("Ada", "Bob", "Mei", "Carlos", "小明")
    }
    ada, bob, mei = people["Ada"], people["Bob"], people["Mei"]
    await bob.find("Ada")
    await bob.say("Did you push the last commit?")
    await people["小明"].find("Ada")
    await people["小明"].say("周末去爬山吗？")
    await group(people["Carlos"], "Climbing club 🧗", ["Ada", "Mei"])
    await people["Carlos"].say("Saturday, eight o'clock, at the usual place.")
    await ada.open("Bob")
    await ada.say("An hour ago. All tests are green.")
    await bob.sees("All tests are green")
    await bob.say("Great, then I take the rest of the day off 😎")
    await ada.sees("day off")
    await group(ada, "Team lunch", ["Bob", "Mei", "Carlos"])
    for person in (bob, mei, people["Carlos"]):
        await person.open("Team lunch")
    for name, text in TALK:
        await people[name].say(text)
        await ada.sees(text[:20])
    await mei.act("book a table", "Reply")
    await mei.say("谢谢 Ada！")
    await ada.sees("谢谢")
    await people["Carlos"].page.locator(".composer-input").press_sequentially("@Ad")
    await people["Carlos"].page.get_by_role("option", name="Ada").wait_for()
    await people["Carlos"].page.keyboard.press("Enter")
    await people["Carlos"].page.keyboard.type("you are the best!")
    await people["Carlos"].page.keyboard.press("Enter")
    await ada.sees("the best")
    await people["小明"].say("带上相机！")
    await expect(ada.row("小明").locator(".unread")).to_have_text("2", timeout=WAIT)
    await bob.page.wait_for_timeout(3500)  # the server passes on one note of typing in three seconds
    await bob.page.locator(".composer-input").press_sequentially("Mmm")
    await expect(ada.page.locator(".thread-subtitle")).to_have_text("Bob is typing…", timeout=WAIT)
    return people


def mountains(width: int, height: int) -> bytes:
    """A landscape: evening sky, sun, three ranges."""
    image = Image.linear_gradient("L").resize((width, height))
    image = ImageOps.colorize(image, (70, 110, 170), (250, 190, 130))
    pen = ImageDraw.Draw(image)
    pen.ellipse((width * 0.66, height * 0.3, width * 0.66 + 110, height * 0.3 + 110), fill=(255, 236, 190))
    for n, colour in enumerate([(112, 110, 150), (74, 76, 116), (38, 44, 74)]):
        line = [
            (x, height * (0.5 + 0.13 * n) - 60 * math.sin(x / (170 - 40 * n) + n) - 26 * math.sin(x / 41))
            for x in range(0, width + 8, 8)
        ]
        pen.polygon([*line, (width, height), (0, height)], fill=colour)
    out = BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


async def attachments(ada: Person, carlos: Person, data: Path) -> None:
    """A picture, a file and a voice message in the group of the climbers."""
    await ada.open("Climbing club 🧗")
    await carlos.open("Climbing club 🧗")
    picture, plan = data / "ridge.jpg", data / "Route and packing list.pdf"
    picture.write_bytes(mountains(1500, 1000))
    plan.write_bytes(b"%PDF-1.7\n" + bytes(482_000))
    choose = carlos.page.locator("input[type=file]")
    await choose.set_input_files(picture)
    await carlos.send_files()
    await drawn(ada.page.locator(".picture img"))
    await ada.say("What a view! Which way is it up there?")
    await carlos.sees("What a view")
    await choose.set_input_files(plan)
    await carlos.send_files()
    await expect(ada.page.locator(".attachment .card")).to_have_count(1, timeout=WAIT)
    await carlos.page.get_by_role("button", name="Record a voice message").click()
    await carlos.page.wait_for_timeout(4200)
    await carlos.page.locator(".recording .send").click()
    await ada.page.locator(".voice-player").wait_for()
    await ada.say("Great, see you on Saturday ⛰️")
    await ada.page.wait_for_timeout(500)


async def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as data:
        server = Server(Path(data))
        await server.start()
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
            people = await talk(browser, server.url)
            ada = people["Ada"]
            state = await ada.context.storage_state()
            await ada.page.screenshot(path=folder / "desktop.png")
            for name, phone, scheme in (
                ("dark", False, "dark"),
                ("phone", True, "light"),
                ("phone-dark", True, "dark"),
            ):
                view = await Person.arrive(
                    browser, server.url, "Ada", phone=phone, color_scheme=scheme, storage_state=state
                )
                await view.row("Team lunch").wait_for()
                await view.page.wait_for_timeout(500)
                if phone:
                    await view.page.screenshot(path=folder / f"{name}-list.png")
                await view.open("Team lunch")
                await view.sees("the best")
                await view.page.wait_for_timeout(500)
                await view.page.screenshot(path=folder / f"{name}.png")
            chinese = await browser.new_context(locale="zh-CN", viewport={"width": 1180, "height": 760})
            page = await chinese.new_page()
            await page.goto(server.url)
            await page.locator(".login-form, .qr").first.wait_for()
            await page.wait_for_timeout(500)
            await page.screenshot(path=folder / "login-zh.png")
            guest = await Person.arrive(browser, server.url, "")
            await guest.page.locator(".login-form, .qr").first.wait_for()
            await guest.page.wait_for_timeout(500)
            await guest.page.screenshot(path=folder / "login.png")
            await ada.details()
            await ada.page.wait_for_timeout(500)
            await ada.page.screenshot(path=folder / "details.png")
            await ada.page.keyboard.press("Escape")
            await attachments(ada, people["Carlos"], Path(data))
            await ada.page.screenshot(path=folder / "files.png")
            await browser.close()
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/screenshots")))
