"""One contract, three stores: the local folder behind a real HTTP server, MinIO, SeaweedFS."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from attrs import evolve
from chat_common.clock import ManualClock, SystemClock
from chat_common.contracts import object_links
from chat_common.contracts import objects as contract
from chat_common.contracts.object_harness import Answer, Fetch, Headers, ObjectHarness
from chat_common.errors import NotFound, Unavailable
from chat_common.ports.objects import PART_MIN
from chat_oss.local import LocalSettings, open_local
from chat_oss.s3 import open_minio

from tests.services.asgi import serving
from tests.services.minio import running_minio
from tests.services.s3 import S3Server
from tests.services.seaweedfs import running_seaweedfs

HOUR = 3600


def an_hour_ago() -> ManualClock:
    return ManualClock(wall_ms=SystemClock().wall_ms() - HOUR * 1000)


@contextlib.asynccontextmanager
async def fetching() -> AsyncIterator[Fetch]:
    async with httpx2.AsyncClient(timeout=30) as client:

        async def fetch(method: str, url: str, headers: Headers, body: bytes) -> Answer:
            answer = await client.request(method, url, headers=list(headers), content=body)
            return Answer(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content)

        yield fetch


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(scope="module")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@contextlib.asynccontextmanager
async def s3_harness(server: S3Server) -> AsyncIterator[ObjectHarness]:
    settings = server.settings(f"chat-{secrets.token_hex(4)}")
    async with open_minio(settings) as store, open_minio(settings, an_hour_ago()) as past, fetching() as fetch:
        lines = await store.prepare(origins=["https://chat.example"])
        assert len(lines) == 4
        assert lines[-1].startswith("links: ")  # what it says: tests/chat_oss/test_link_key.py
        yield ObjectHarness(store, past, fetch)


@contextlib.asynccontextmanager
async def local_harness(folder: Path) -> AsyncIterator[ObjectHarness]:
    with serving() as server:
        settings = LocalSettings(path=str(folder), public_url=server.origin)
        async with (
            open_local(settings, SystemClock()) as store,
            open_local(settings, an_hour_ago()) as past,
            server.run(store.mount.app),
            fetching() as fetch,
        ):
            yield ObjectHarness(store, past, fetch)


@pytest.mark.parametrize("check", contract.checks(), ids=lambda check: check.__name__)
async def test_local(check: contract.Check, tmp_path: Path) -> None:
    async with local_harness(tmp_path) as harness:
        await check(harness)


@pytest.mark.parametrize("check", contract.checks(), ids=lambda check: check.__name__)
async def test_minio(check: contract.Check, minio: S3Server) -> None:
    async with s3_harness(minio) as harness:
        await check(harness)


@pytest.mark.parametrize("check", contract.checks(), ids=lambda check: check.__name__)
async def test_seaweedfs(check: contract.Check, seaweedfs: S3Server) -> None:
    async with s3_harness(seaweedfs) as harness:
        await check(harness)


async def test_links_that_bind_too_little_are_found_by_the_check_and_by_init(minio: S3Server) -> None:
    settings = evolve(minio.settings(f"chat-{secrets.token_hex(4)}"), bind_headers=False)
    async with open_minio(settings) as store, fetching() as fetch:
        with pytest.raises(Unavailable, match="can be made to copy other objects"):
            await store.prepare()
        with pytest.raises(AssertionError, match="x-amz-copy-source"):
            await object_links.check_upload_link_touches_nothing_else(ObjectHarness(store, store, fetch))


async def test_links_that_bind_too_much_are_found_by_init(seaweedfs: S3Server) -> None:
    settings = evolve(seaweedfs.settings(f"chat-{secrets.token_hex(4)}"), bind_headers=True)
    async with open_minio(settings) as store:
        with pytest.raises(Unavailable, match="bind_headers = false"):
            await store.prepare()


@pytest.mark.parametrize("which", ["minio", "seaweedfs"])
async def test_large_contents_are_copied_in_pieces(
    which: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat_oss.s3.COPY_PART", PART_MIN)
    async with s3_harness(request.getfixturevalue(which)) as harness:
        content = secrets.token_bytes(2 * PART_MIN + 7)
        await harness.store.put("large", content)
        await harness.store.copy("large", "copy", type="video/mp4")
        info = await harness.store.stat("copy")
        assert (info.size, info.type, info.etag[-2:]) == (len(content), "video/mp4", "-3")
        assert await harness.read("copy") == content
        with pytest.raises(NotFound):
            await harness.store.copy("never", "copy", type="video/mp4", size=len(content))
        await harness.store.abort_parts("copy")
        assert await harness.read("copy") == content
