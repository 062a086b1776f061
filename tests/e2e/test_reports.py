"""Reporting in the page, and what moderators do about it as members see it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from chat_server.cli import main
from click.testing import CliRunner
from playwright.async_api import Browser, expect

from tests.e2e.person import BACK
from tests.e2e.server import Server
from tests.e2e.test_access import serious
from tests.e2e.test_marks import two


async def test_a_message_is_reported_taken_down_and_its_sender_warned(browser: Browser, server: Server) -> None:
    async def console(*words: str) -> Any:
        arguments = ["--data", str(server.data), "report", *words, "--json"]
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments, env={})
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    ada, bob = await two(browser, server)
    await bob.find("Ada")
    await bob.say("very rude words")
    await bob.say("rude again")
    await bob.has_sent("rude again")
    await ada.open("Bob")

    await bob.message("very rude words").click(button="right")
    await expect(bob.page.get_by_role("menuitem", name="Recall")).to_be_visible()
    await expect(bob.page.get_by_role("menuitem", name="Report")).to_have_count(0)  # it is his own
    await bob.page.keyboard.press("Escape")

    await ada.act("very rude words", "Report")
    dialog = ada.page.get_by_role("dialog")
    await expect(dialog.get_by_role("blockquote")).to_have_text("very rude words")
    await expect(dialog.get_by_role("button", name="Report")).to_be_disabled()  # until it is said why
    await expect(dialog.get_by_label("Spam or fraud")).to_be_focused()
    assert await serious(ada.page) == []
    await dialog.get_by_label("Harassment").check()
    await dialog.get_by_label("In your own words, if you like").fill("he goes on and on")
    await dialog.get_by_role("button", name="Report").click()
    await expect(ada.page.get_by_text("Reported. Thank you.")).to_be_visible()
    await expect(dialog).to_have_count(0)
    (first,) = await console("list")
    assert (first["category"], first["reason"]) == ("harassment", "he goes on and on")
    assert first["preview"]["text"] == "very rude words"

    await ada.act("rude again", "Report")
    await dialog.get_by_label("Something else").check()
    await dialog.get_by_label("In your own words, if you like").press("Escape")
    await expect(dialog).to_have_count(0)
    assert len(await console("list")) == 1, "it was called off"

    await console("takedown", first["report"])
    for person in (ada, bob):
        gone = person.page.locator(".timeline .recalled")
        await expect(gone).to_have_text("The moderators removed this message", timeout=BACK)
    await console("warn", first["report"], "Please be kind.")
    await bob.open("Moderator")
    await expect(bob.page.locator(".timeline .system")).to_have_text("Warning from the moderators: Please be kind.")
    assert ada.problems == []
    assert bob.problems == []
