"""The same page with a real MinIO: pictures go straight from the browser to another origin and come from there."""

from __future__ import annotations

from pathlib import Path

from chat_oss.s3 import open_minio
from playwright.async_api import Browser, Request

from tests.e2e.server import Server
from tests.e2e.test_files import BRING, drawn, two
from tests.services.minio import running_minio


async def test_pictures_do_not_pass_through_the_server(browser: Browser, tmp_path: Path) -> None:
    with running_minio(tmp_path) as minio:
        async with open_minio(minio.settings("chat")) as store:
            await store.prepare()
        environment = {
            "CHAT__PORTS__OBJECT_STORE": "minio",
            "CHAT__OBJECT_STORE__MINIO__ENDPOINT": minio.endpoint,
            "CHAT__OBJECT_STORE__MINIO__ACCESS_KEY": minio.access_key,
            "CHAT__OBJECT_STORE__MINIO__SECRET_KEY": minio.secret_key,
        }
        server = Server(tmp_path / "data", env=environment)
        await server.start()
        try:
            ada, bob = await two(browser, server)
            sent: list[Request] = []
            ada.page.on("request", lambda request: sent.append(request))
            await ada.page.evaluate(BRING, ["paste", "holiday.png", 900, 600])
            picture = bob.page.locator(".picture img")
            await drawn(picture)
            assert (await picture.get_attribute("src") or "").startswith(minio.endpoint)
            puts = [request.url for request in sent if request.method == "PUT"]
            assert len(puts) == 1
            assert puts[0].startswith(minio.endpoint)
            assert ada.problems == []
            assert bob.problems == []
        finally:
            await server.stop()
