"""What somebody may add to an upload to a real MinIO reaches nobody else, and is not taken for a failing store."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
from chat_common.clock import SystemClock
from chat_common.errors import ChatError, Invalid, Unavailable
from chat_common.ports.files import UploadRequest
from chat_oss.guard import GuardedStore
from chat_oss.s3 import MinioSettings, open_minio

from tests.chat_oss.flow import Flow, service
from tests.services.minio import running_minio
from tests.services.s3 import S3Server

KEY = bytes(range(32))
ADDED = [
    {"content-encoding": "gzip"},
    {"content-disposition": "inline", "cache-control": "public, max-age=99999", "expires": "0"},
    {"x-amz-acl": "public-read", "x-amz-grant-read": 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'},
    {"x-amz-tagging": "a=b&c=d"},
    {"x-amz-storage-class": "REDUCED_REDUNDANCY"},
    {"x-amz-storage-class": "GLACIER"},
    {"x-amz-website-redirect-location": "https://evil.example/"},
    {"x-amz-meta-anything": "at all"},
    {"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": "2099-01-01T00:00:00Z"},
    {"x-amz-object-lock-legal-hold": "ON"},
    {"x-amz-server-side-encryption": "AES256"},
    {
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": base64.b64encode(KEY).decode(),
        "x-amz-server-side-encryption-customer-key-md5": base64.b64encode(hashlib.md5(KEY).digest()).decode(),
    },
    {"x-amz-write-offset-bytes": "0"},
    {"x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode()},
    {"x-amz-copy-source-range": "bytes=0-3"},
    {"x-amz-replication-status": "REPLICA", "x-minio-source-replication-request": "true"},
    {"x-minio-source-mtime": "1970-01-02T00:00:00Z", "x-minio-source-etag": "0" * 32},
    {"x-minio-force-delete": "true", "x-http-method-override": "DELETE"},
    {"x-minio-extract": "true"},
    {"range": "bytes=0-0"},
]


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


@contextlib.asynccontextmanager
async def on_minio(minio: S3Server) -> AsyncIterator[tuple[Flow, GuardedStore, httpx2.AsyncClient, MinioSettings]]:
    """Uploads through a guarded store, in a bucket of their own."""
    clock = SystemClock()
    settings = minio.settings(f"chat-{secrets.token_hex(4)}")
    async with open_minio(settings, clock) as store, httpx2.AsyncClient(timeout=30) as web:
        await store.prepare()
        guard = GuardedStore(store, clock, settings)
        async with service(clock, guard, web) as flow:
            yield flow, guard, web, settings


@pytest.mark.parametrize("added", ADDED, ids=lambda added: next(iter(added)))
async def test_a_header_reaches_nobody_else(added: dict[str, str], minio: S3Server) -> None:
    async with on_minio(minio) as (flow, guard, web, settings):
        content = b"%PDF-1.7 " + secrets.token_bytes(100)
        plain = await flow.send(content, "application/pdf")
        expected = await web.get((await flow.urls(plain.file))["original"])
        content = b"%PDF-1.7 " + secrets.token_bytes(100)
        begun = await flow.begin(content, "application/pdf")
        assert isinstance(begun.put, UploadRequest)
        await web.put(begun.put.url, headers={**begun.put.headers, **added}, content=content)
        try:
            facts = await flow.finish(begun.file)
        except Unavailable:
            raise  # taken for a failing store
        except ChatError:
            assert (await flow.urls(begun.file)) == {}
            assert len([key for key in await flow.keys() if key.startswith("file/")]) == 1
        else:
            await flow.application.send("ada", facts.file)
            answer = await web.get((await flow.urls(facts.file))["original"])
            assert answer.content == content
            own = {"etag", "date", "last-modified", "x-amz-request-id", "x-amz-id-2", "content-disposition"}
            assert {k: v for k, v in answer.headers.items() if k not in own} == {
                k: v for k, v in expected.headers.items() if k not in own
            }
            assert (await flow.keys()) == [key for key in await flow.keys() if key.startswith("file/")]
        assert guard.breaker.failures == 0
        assert (await web.get(f"{settings.endpoint}/{settings.bucket}/upload/{begun.file}")).status_code == 403


@pytest.mark.parametrize("content", [gzip.compress(gzip.compress(bytes(30_000_000))), b"\x89PNG no gzip at all"])
async def test_what_calls_itself_compressed_is_read_as_it_is_stored(content: bytes, minio: S3Server) -> None:
    """Unpacked it would fill the memory, and what cannot be unpacked would be taken for a failing store."""
    async with on_minio(minio) as (flow, guard, web, _):
        begun = await flow.begin(content, "image/png")
        assert isinstance(begun.put, UploadRequest)
        headers = {**begun.put.headers, "content-encoding": "gzip, gzip"}
        assert (await web.put(begun.put.url, headers=headers, content=content)).status_code == 200
        with pytest.raises(Invalid, match=r"type|picture"):
            await flow.finish(begun.file)
        assert guard.breaker.failures == 0
