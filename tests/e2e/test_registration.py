"""A server as it is put on the internet: nobody is in by a name alone, and accounts are made by invitation."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.person import WAIT, Person
from tests.e2e.server import Server

GOOD = "correct horse"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path / "data", dev=False)
    await server.start()
    yield server
    await server.stop()


async def command(server: Server, *words: str) -> dict[str, str]:
    """`chat-server WORDS --json` on the live store."""
    script = Path(sys.executable).with_name("chat-server")
    line = [str(script), *words, "--data", str(server.data), "--json"]
    process = await asyncio.create_subprocess_exec(*line, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    out = await process.stdout.read()
    assert await process.wait() == 0
    answer: dict[str, str] = json.loads(out)
    return answer


async def admin_link(server: Server) -> str:
    """The link that a start prints while nobody has an account."""
    found = re.search(r"admin +(http\S+\?invite=\S+)", "".join(await server.lines("stop ")))
    assert found is not None
    return found[1]


async def fill(person: Person, **fields: str) -> None:
    for name, value in fields.items():
        await person.page.locator(f"input[name={name}]").fill(value)


async def create(person: Person, **fields: str) -> None:
    await fill(person, username=person.name, password=GOOD, again=GOOD, **fields)
    await person.page.get_by_role("button", name="Create account", exact=True).click()


async def is_in(person: Person) -> None:
    await expect(person.page.locator(".me-name")).to_have_text(person.name, timeout=WAIT)


async def test_the_first_admin_comes_by_a_link_and_a_second_person_by_a_code(browser: Browser, live: Server) -> None:
    ada = await Person.arrive(browser, await admin_link(live), "Ada")
    await create(ada)
    await is_in(ada)
    assert "invite" not in ada.page.url, "the code is spent"
    assert (await command(live, "user", "show", "ada"))["role"] == "admin"

    await ada.context.clear_cookies()
    await ada.page.evaluate("localStorage.clear()")
    await ada.page.reload()
    await fill(ada, username="ADA", password=GOOD)
    await ada.page.get_by_role("button", name="Log in", exact=True).click()
    await is_in(ada)

    code = (await command(live, "invite", "new"))["code"]
    other = await Person.arrive(browser, live.url, "Ada")
    await other.page.get_by_role("button", name="Create an account").click()
    alert = other.page.locator(".login-form").get_by_role("alert")
    await create(other, invite="no such code")
    await expect(alert).to_have_text("This invitation code is not valid.")
    await create(other, invite=code)
    await expect(alert).to_contain_text("This name is taken.")
    await create(other, handle="Ada L", invite=code)
    await expect(alert).to_contain_text("A login name has")
    await create(other, handle="ada.l", invite=code)
    await is_in(other)
    shown = await command(live, "user", "show", "ada.l")
    assert (shown["name"], shown["role"]) == ("Ada", "user")


@pytest.mark.parametrize(("registration", "asked", "may"), [("open", 0, 1), ("invite", 1, 1), ("closed", 0, 0)])
async def test_the_form_asks_for_what_the_server_asks_for(
    browser: Browser, tmp_path: Path, registration: str, asked: int, may: int
) -> None:
    server = Server(tmp_path / "data", dev=False, env={"CHAT__AUTH__REGISTRATION": registration})
    await server.start()
    try:
        bob = await Person.arrive(browser, server.url, "Bob")
        await bob.page.locator("input[name=username]").wait_for()
        begin = bob.page.get_by_role("button", name="Create an account")
        await expect(begin).to_have_count(may)
        if may:
            await begin.click()
            await bob.page.locator("input[name=again]").wait_for()
        await expect(bob.page.locator("input[name=invite]")).to_have_count(asked)
        assert bob.problems == []
        admin = await Person.arrive(browser, await admin_link(server), "Ada")
        await create(admin)
        await is_in(admin)
    finally:
        await server.stop()
