"""The examples of the client library, as they stand beside its README, against a real server."""

from __future__ import annotations

import asyncio
import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.async_api import Browser, expect

from tests.e2e.person import WAIT
from tests.e2e.server import Server
from tests.services.process import free_port
from tests.webclient.test_package import PACKAGE, install


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Another site: its origin, and the folder that it serves."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{site.server_address[1]}", folder
        site.shutdown()


async def call(client: httpx2.AsyncClient, command: str, **params: object) -> Any:
    answer = await client.post(f"/api/{command}", json=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def log_in(client: httpx2.AsyncClient, name: str) -> tuple[str, str]:
    """The id and the token of somebody; the client is that person from now on."""
    told = await call(client, "auth.dev", name=name)
    client.headers["authorization"] = f"Bearer {told['token']}"
    return told["user"]["user"], told["token"]


async def until_said(client: httpx2.AsyncClient, conversation: str, text: str) -> dict[str, Any]:
    """The message of this text, as soon as it is there."""
    async with asyncio.timeout(WAIT / 1000):
        while True:
            page = await call(client, "history", conversation=conversation, after=0, limit=100)
            for message in page["messages"]:
                if message["kind"] == "text" and message["body"]["text"] == text:
                    found: dict[str, Any] = message
                    return found
            await asyncio.sleep(0.1)


async def test_the_bot_answers(server: Server, tmp_path: Path) -> None:
    use, _ = await asyncio.to_thread(install, tmp_path)
    bot = use / "bot.mjs"
    bot.write_text((PACKAGE / "examples" / "bot.mjs").read_text("utf-8"), "utf-8")
    process = await asyncio.create_subprocess_exec(
        *("node", "--experimental-websocket", str(bot), server.url.rstrip("/"), "parrot"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), WAIT / 1000)
        assert line.startswith(b"parrot listens as ")
        parrot = line.decode().split()[-1]
        async with httpx2.AsyncClient(base_url=server.url) as client:
            await log_in(client, "Ann")
            room = (await call(client, "direct.open", user=parrot))["conversation"]
            await call(client, "submit", conversation=room, kind="text", body={"text": "hello"})
            answer = await until_said(client, room, "echo: hello")
        assert answer["sender"] == parrot
        assert answer["reply_to"] == 1 or answer["reply_to"]["seq"] == 1
    finally:
        process.terminate()
        await process.wait()


async def test_the_page_on_another_site(browser: Browser, elsewhere: tuple[str, Path], tmp_path: Path) -> None:
    origin, folder = elsewhere
    allowed = {"CHAT__SERVER__ALLOWED_ORIGINS": json.dumps([origin])}
    server = Server(tmp_path / "data", env=allowed)
    await server.start()
    try:
        text = (PACKAGE / "examples" / "page.html").read_text("utf-8")
        assert "https://chat.example" in text
        assert "wss://chat.example" in text
        own = server.url.rstrip("/")
        text = text.replace("https://chat.example", own).replace("wss://chat.example", own.replace("http", "ws"))
        (folder / "page.html").write_text(text, "utf-8")
        async with httpx2.AsyncClient(base_url=server.url) as bob:
            await log_in(bob, "Bob")
            async with httpx2.AsyncClient(base_url=server.url) as client:
                ann, token = await log_in(client, "Ann")
            room = (await call(bob, "direct.open", user=ann))["conversation"]
            await call(bob, "submit", conversation=room, kind="text", body={"text": "hello"})
            page = await browser.new_page()
            await page.add_init_script(f"localStorage.token = {json.dumps(token)}")
            for n in range(2):  # and once more with what the first visit has kept
                await page.goto(f"{origin}/page.html")
                await expect(page.locator("#list li", has_text="Bob: hello")).to_have_count(1)
                await page.locator("#text").fill(f"answer {n}")
                await page.get_by_role("button", name="Send").click()
                assert (await until_said(bob, room, f"answer {n}"))["sender"] == ann
    finally:
        await server.stop()
