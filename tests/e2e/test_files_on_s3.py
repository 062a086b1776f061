"""The same page with a real S3: files go straight from the browser to another origin and come from there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from chat_oss.s3 import open_minio
from playwright.async_api import Browser, Request, expect

from tests.e2e.person import WAIT
from tests.e2e.server import Server
from tests.e2e.test_files import BRING, drawn, two
from tests.services.minio import running_minio
from tests.services.s3 import S3Server
from tests.services.seaweedfs import running_seaweedfs

MIB = 1024 * 1024


@pytest.mark.parametrize("running", [running_minio, running_seaweedfs])
async def test_files_do_not_pass_through_the_server(
    running: Callable[[Path], AbstractContextManager[S3Server]], browser: Browser, tmp_path: Path
) -> None:
    with running(tmp_path) as store:
        settings = store.settings("chat")
        async with open_minio(settings) as objects:
            await objects.prepare()
        environment = {
            "CHAT__PORTS__OBJECT_STORE": "minio",
            "CHAT__OBJECT_STORE__MINIO__ENDPOINT": store.endpoint,
            "CHAT__OBJECT_STORE__MINIO__ACCESS_KEY": store.access_key,
            "CHAT__OBJECT_STORE__MINIO__SECRET_KEY": store.secret_key,
            "CHAT__OBJECT_STORE__MINIO__BIND_HEADERS": str(settings.bind_headers).lower(),
            "CHAT__FILES__OSS__PARTS_ABOVE": str(5 * MIB),
            "CHAT__FILES__OSS__PART_BYTES": str(5 * MIB),
        }
        server = Server(tmp_path / "data", env=environment)
        await server.start()
        try:
            ada, bob = await two(browser, server)
            sent: list[Request] = []
            ada.page.on("request", lambda request: sent.append(request))
            await ada.page.evaluate(BRING, ["paste", "holiday.png", 900, 600])
            await ada.send_files()
            picture = bob.page.locator(".picture img")
            await drawn(picture)
            assert (await picture.get_attribute("src") or "").startswith(store.endpoint)

            large = tmp_path / "large.bin"
            large.write_bytes(os.urandom(11 * MIB))
            await ada.page.locator("input[type=file]").set_input_files(large)
            await ada.send_files()
            card = bob.page.locator(".attachment .card")
            await expect(card.locator(".card-title")).to_have_text("large.bin", timeout=WAIT)
            async with bob.page.expect_download() as downloading:
                await card.click()
            came = Path(await (await downloading.value).path()).read_bytes()  # noqa: ASYNC240  # a file of the test's
            assert hashlib.sha256(came).digest() == hashlib.sha256(large.read_bytes()).digest()

            puts = [request.url for request in sent if request.method == "PUT"]
            assert len(puts) == 1 + 3
            assert all(url.startswith(f"{store.endpoint}/chat/upload/") for url in puts)
            assert ada.problems == []
            assert bob.problems == []
        finally:
            await server.stop()
