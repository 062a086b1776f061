"""Reloads, several tabs, a hidden tab, a server that goes away and comes back."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.line import two_with_a_line
from tests.e2e.person import BACK, WAIT, Person
from tests.e2e.server import Server

# What a browser does to the timers of a tab that has been hidden for five minutes.
CLAMP = """{
  const real = window.setTimeout;
  window.setTimeout = (act, after = 0, ...rest) => real(act, Math.ceil(Math.max(after, 1) / 60000) * 60000, ...rest);
}"""

# Another transaction on the queue's storage that does not end until it is told to.
HOLD_STORAGE = """async () => {
  const database = await new Promise((resolve) => {
    indexedDB.open("chat-client", 1).onsuccess = ({ target }) => resolve(target.result);
  });
  const store = database.transaction("queue", "readwrite").objectStore("queue");
  let released = false;
  const go_on = () => released || Object.assign(store.count(), { onsuccess: go_on });
  go_on();
  window.held = { release: () => (released = true) };
}"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_both_go_on_after_a_restart_without_a_reload(
    browser: Browser, server: Server, how: signal.Signals
) -> None:
    ada = await (await Person.arrive(browser, server.url, "Ada")).log_in()
    bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
    await ada.find("Bob")
    await ada.say("before")
    await bob.open("Ada")
    await bob.sees("before")
    for person in (ada, bob):
        await person.page.evaluate("window.mark = 1")
    await server.stop(how)
    await expect(ada.page.locator(".banner")).to_be_visible(timeout=WAIT)
    await ada.say("meanwhile")
    await expect(ada.message("meanwhile").get_by_role("img", name="Sending")).to_be_visible()
    await server.start()
    await bob.sees("meanwhile", BACK)
    await bob.say("after")
    await ada.sees("after", BACK)
    await expect(ada.page.locator(".banner")).to_be_hidden(timeout=WAIT)
    for person in (ada, bob):
        assert await person.page.evaluate("window.mark") == 1
        assert list((await person.screen()).values()) == ["before", "meanwhile", "after"]
        assert person.problems == []


async def test_what_is_unsent_survives_a_reload(browser: Browser, server: Server) -> None:
    ada, bob, line = await two_with_a_line(browser, server)
    await line.cut(ada)
    for text in ("two", "three", "four"):
        await ada.say(text)
    await expect(ada.page.get_by_role("img", name="Sending")).to_have_count(3)
    await ada.page.reload()
    await ada.page.locator(".splash").wait_for()
    line.blocked = False
    await ada.page.reload()
    await bob.sees("four")
    assert list((await bob.screen()).values()) == ["one", "two", "three", "four"]
    await expect(ada.page.get_by_role("img", name="Sending")).to_have_count(0, timeout=WAIT)
    assert list((await ada.screen()).values()) == ["one", "two", "three", "four"]
    assert ada.problems + bob.problems == []


async def test_only_what_is_kept_is_shown_as_sending(browser: Browser, server: Server) -> None:
    """On a disk that is slow: until the message is on it nothing is promised, and the browser asks before it leaves."""
    ada, bob, line = await two_with_a_line(browser, server)
    await line.cut(ada)
    await ada.page.evaluate(HOLD_STORAGE)
    await ada.say("two")
    await ada.sees("two")
    await expect(ada.page.locator(".state.keeping")).to_have_count(1)
    await expect(ada.page.get_by_role("img", name="Sending")).to_have_count(0)
    async with ada.page.expect_event("dialog") as asking:
        await ada.page.evaluate("setTimeout(() => location.reload())")
    question = await asking.value
    assert question.type == "beforeunload"
    await question.dismiss()
    await ada.page.evaluate("held.release()")
    await expect(ada.page.get_by_role("img", name="Sending")).to_have_count(1)
    line.blocked = False
    await ada.page.reload()  # which now asks nothing
    await bob.sees("two")
    assert ada.problems == ["dialog: "]
    assert bob.problems == []


async def test_what_a_closed_tab_left_unsent_is_sent_by_another(browser: Browser, server: Server) -> None:
    ada, bob, line = await two_with_a_line(browser, server)
    second = Person("Ada", ada.context, await ada.context.new_page())
    await second.page.goto(server.url)
    await second.open("Bob")
    await second.sees("one")
    await line.cut(ada)
    await ada.say("two")
    await expect(ada.page.get_by_role("img", name="Sending")).to_have_count(1)
    await second.say("three")
    await bob.sees("three")
    await ada.page.close()
    await bob.sees("two")
    await second.sees("two")
    assert list((await bob.screen()).values()) == ["one", "three", "two"]
    assert second.problems + bob.problems == []


async def test_a_short_loss_leaves_no_banner(browser: Browser, server: Server) -> None:
    """Nor does one that comes while the page still says that it is back."""
    ada, _, line = await two_with_a_line(browser, server)
    banner = ada.page.locator(".banner")
    await line.cut(ada)
    line.blocked = False
    await expect(banner).to_have_text("Up to date again", timeout=BACK)
    await line.sockets[-1].close()
    await expect(banner).to_be_hidden(timeout=BACK)


async def test_tabs_of_one_device_see_the_same(browser: Browser, server: Server) -> None:
    ada = await (await Person.arrive(browser, server.url, "Ada")).log_in()
    bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
    await ada.find("Bob")
    await ada.say("from the first tab")
    second = Person("Ada", ada.context, await ada.context.new_page())
    await second.page.goto(server.url)
    await second.open("Bob")
    await second.sees("from the first tab")
    await second.say("from the second")
    await ada.sees("from the second")
    await bob.open("Ada")
    await bob.say("hello both")
    for tab in (ada, second):
        await tab.sees("hello both")
        await expect(tab.row("Bob").locator(".unread")).to_have_count(
            0, timeout=WAIT
        )  # read, a moment after it is seen
    await ada.back()
    await second.back()
    await bob.say("one more")
    for tab in (ada, second):
        await expect(tab.row("Bob").locator(".unread")).to_have_text("1", timeout=WAIT)
    await ada.open("Bob")
    await expect(second.row("Bob").locator(".unread")).to_have_count(0, timeout=WAIT)
    await second.page.get_by_role("button", name="Menu").click()
    await second.page.get_by_role("menuitem", name="Log out").click()
    for tab in (ada, second):
        await expect(tab.page.locator(".login-form").first).to_be_visible(timeout=WAIT)
    assert ada.problems + second.problems + bob.problems == []


async def test_a_hidden_tab_stays_connected(browser: Browser, tmp_path: Path) -> None:
    server = Server(tmp_path / "data", env={"CHAT__GATEWAY__HEARTBEAT": "2", "CHAT__GATEWAY__ACK_TIMEOUT": "4"})
    await server.start()
    ada = await Person.arrive(browser, server.url, "Ada")
    await ada.page.add_init_script(CLAMP)
    await ada.page.reload()
    await ada.log_in()
    bob = await (await Person.arrive(browser, server.url, "Bob")).log_in()
    await bob.find("Ada")
    await bob.say("are you there?")
    await ada.row("Bob").wait_for()
    sockets: list[str] = []
    ada.page.on("websocket", lambda socket: sockets.append(socket.url))
    for n in range(10):  # ten heartbeats, five times what the server waits for an acknowledgement
        await bob.say(f"still {n}")
        await asyncio.sleep(2)
    await expect(ada.row("Bob").locator(".list-preview")).to_have_text("still 9", timeout=WAIT)
    assert sockets == []
    assert ada.problems == []
    await server.stop()
