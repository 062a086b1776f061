"""One contract, three stores: the local folder behind a real HTTP server, MinIO, SeaweedFS."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import httpx2
import pytest
from chat_common.clock import ManualClock, SystemClock
from chat_common.contracts import objects as contract
from chat_common.contracts.objects import Answer, ObjectHarness
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
async def fetching() -> AsyncIterator[Callable[[str, str, Mapping[str, str], bytes], Awaitable[Answer]]]:
    async with httpx2.AsyncClient(timeout=30) as client:

        async def fetch(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
            answer = await client.request(method, url, headers=dict(headers), content=body)
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
        assert len(lines) == 3
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
