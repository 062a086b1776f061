"""A dead store delays nobody's text."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from chat_common.errors import ChatError, Unavailable
from chat_oss.s3 import open_minio
from chat_server.server import Server

from tests.faults_proxy import FaultsProxy
from tests.services.minio import running_minio
from tests.services.s3 import S3Server

UPLOADS = 20
TEXTS = 150


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


async def text_times(server: Server, user: str, room: str) -> list[float]:
    """Seconds of each submit, sorted."""
    times = []
    for number in range(TEXTS):
        began = time.perf_counter()
        body = {"text": f"text {number}"}
        await server.call("submit", {"conversation": room, "kind": "text", "body": body}, user=user)
        times.append(time.perf_counter() - began)
    return sorted(times)


async def test_texts_flow_while_uploads_hang(minio: S3Server, tmp_path: Path, record_property: Any) -> None:
    async with FaultsProxy(("127.0.0.1", minio.port)) as proxy:
        bucket = f"chat-{secrets.token_hex(4)}"
        async with open_minio(minio.settings(bucket)) as store:
            await store.prepare()
        settings = {
            "server": {"data": str(tmp_path)},
            "ports": {"object_store": "minio"},
            "object_store.minio": {
                "endpoint": f"http://127.0.0.1:{proxy.port}",
                "public_endpoint": minio.endpoint,
                "bucket": bucket,
                "access_key": minio.access_key,
                "secret_key": minio.secret_key,
                "read_timeout": 1.0,
                "failures": UPLOADS,
                "pause": 0.2,
            },
        }
        async with Server(settings=settings, environ={}) as server, httpx2.AsyncClient(timeout=30) as web:
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(server.app), base_url="http://chat") as page:
                policy = (await page.get("/")).headers["content-security-policy"]
            (connect,) = [part.split() for part in policy.split(";") if part.split()[0] == "connect-src"]
            assert connect == ["connect-src", "'self'", "ws://chat", minio.endpoint]
            ada = (await server.ensure_user("ada")).user
            room = (await server.call("group.create", {"name": "room", "members": []}, user=ada)).conversation
            calm = await text_times(server, ada, room)
            files = []
            for _ in range(UPLOADS):
                data = secrets.token_bytes(10_000)
                request = {"conversation": room, "name": "a", "type": "application/octet-stream", "size": len(data)}
                begun = await server.call("upload.begin", request, user=ada)
                answer = await web.request("PUT", begun.put.url, headers=begun.put.headers, content=data)
                assert answer.status_code == 200
                files.append(begun.file)
            proxy.black_hole = True
            proxy.swallow()
            finishing = [asyncio.create_task(server.call("upload.finish", {"file": file}, user=ada)) for file in files]
            hanging = await text_times(server, ada, room)
            assert not all(task.done() for task in finishing), "the store was meant to hang during all of it"
            outcomes = await asyncio.gather(*finishing, return_exceptions=True)
            assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
            middle, late = len(calm) // 2, int(len(calm) * 0.99)
            record_property("calm_ms", [round(calm[at] * 1000, 2) for at in (middle, late)])
            record_property("hanging_ms", [round(hanging[at] * 1000, 2) for at in (middle, late)])
            print(f"p50, p99 in ms: {[calm[at] * 1000 for at in (middle, late)]} calm, "
                  f"{[hanging[at] * 1000 for at in (middle, late)]} while {UPLOADS} uploads hang")  # fmt: skip
            assert hanging[middle] < calm[middle] * 2 + 0.005
            assert hanging[late] < calm[late] * 2 + 0.05
            proxy.black_hole = False
            async with asyncio.timeout(30):
                for file in files:
                    while True:
                        try:
                            facts = await server.call("upload.finish", {"file": file}, user=ada)
                            break
                        except Unavailable as error:
                            await asyncio.sleep(error.retry_after or 0.1)
                    assert facts.size == 10_000


async def test_without_a_package_for_files_uploads_are_unavailable(tmp_path: Path) -> None:
    settings = {"server": {"data": str(tmp_path)}, "ports": {"files": [], "attachments": []}}
    async with Server(settings=settings, environ={}) as server:
        ada = (await server.ensure_user("ada")).user
        room = (await server.call("group.create", {"name": "room", "members": []}, user=ada)).conversation
        request = {"conversation": room, "name": "a", "type": "text/plain", "size": 1}
        with pytest.raises(ChatError) as caught:
            await server.call("upload.begin", request, user=ada)
        assert caught.value.code == "unavailable"
        with pytest.raises(ChatError) as caught:
            await server.call("submit", {"conversation": room, "kind": "file", "body": {"file": "a"}}, user=ada)
        assert caught.value.code == "unavailable"
        await server.call("submit", {"conversation": room, "kind": "text", "body": {"text": "hi"}}, user=ada)
