"""A key of its own for links: on a real MinIO, which may take unsigned uploads, it keeps files what they are."""

from __future__ import annotations

import contextlib
import secrets
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from zlib import crc32

import httpx2
import pytest
from attrs import evolve
from chat_common.clock import SystemClock
from chat_common.errors import Unavailable
from chat_common.settings import SetupError
from chat_oss.files import FilesSettings
from chat_oss.s3 import MinioSettings, open_minio
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin

from tests.chat_oss.flow import service
from tests.services.minio import running_minio
from tests.services.s3 import S3Server

PART = 5 * 1024 * 1024
PARTED = FilesSettings(parts_above=PART, part_bytes=PART)


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


def with_link_key(server: S3Server) -> MinioSettings:
    """A bucket, and a key that may do what docs/files.md says."""
    settings = server.settings(f"chat-{secrets.token_hex(4)}")
    name, bucket = f"links-{secrets.token_hex(4)}", f"arn:aws:s3:::{settings.bucket}"
    admin = MinioAdmin(
        endpoint=urlsplit(server.endpoint).netloc,
        credentials=StaticProvider(server.access_key, server.secret_key),
        secure=False,
    )
    statements = [
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{bucket}/*"]},
        {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [f"{bucket}/upload/*"]},
    ]
    admin.policy_add(name, policy={"Version": "2012-10-17", "Statement": statements})
    admin.user_add(name, "a secret of its own")
    admin.policy_set(name, user=name)
    return evolve(settings, link_access_key=name, link_secret_key="a secret of its own")


async def overwritten(web: httpx2.AsyncClient, link: str, content: bytes) -> bool:
    """Send an upload with a signature that is not for it; whether it was taken (CVE-2026-40344)."""
    check = b64encode(crc32(content).to_bytes(4, "big"))
    body = b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (len(content), content, check)
    headers = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": str(len(content)),
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    answer = await web.put(link, headers=headers, content=body)
    return answer.status_code == 200


async def test_files_stay_what_they_are_and_uploads_work(minio: S3Server) -> None:
    settings, clock = with_link_key(minio), SystemClock()
    async with open_minio(settings, clock) as store, httpx2.AsyncClient(timeout=30) as web:
        assert (await store.prepare())[-1] == "links: upload, and can neither be made to copy nor to overwrite"
        async with service(clock, store, web, PARTED) as flow:
            small = b"%PDF-1.7 " + secrets.token_bytes(100)
            facts = await flow.send(small, "application/pdf")
            link = (await flow.urls(facts.file))["original"]
            assert settings.access_key not in link
            assert not await overwritten(web, link, b"something else")
            assert (await web.get(link)).content == small
            large = b"%PDF-1.7 " + secrets.token_bytes(PART + 100)
            assert (await flow.upload_parts(large, "application/pdf")).size == len(large)


async def test_without_it_init_says_what_can_be_done(minio: S3Server) -> None:
    """Held against the server itself, so that a mended MinIO needs no other test."""
    settings, clock = minio.settings(f"chat-{secrets.token_hex(4)}"), SystemClock()
    async with open_minio(settings, clock) as store, httpx2.AsyncClient(timeout=30) as web:
        *_, line = await store.prepare()
        await store.put("file/a", b"secret")
        link = store.download_link("file/a", seconds=60).url
        assert ("WARNING" in line) == await overwritten(web, link, b"public")
        assert ("link_access_key" in line) == ("WARNING" in line)
        assert [info.key async for info in store.list()] == ["file/a"]


@pytest.mark.parametrize("half", ["link_access_key", "link_secret_key"])
async def test_half_a_key_is_refused(half: str) -> None:
    with pytest.raises(SetupError, match="Set both or neither"):
        await open_minio(MinioSettings(access_key="a", secret_key="b", **{half: "c"})).__aenter__()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"link_access_key": "nobody"}, r"InvalidAccessKeyId.*link_access_key"),
        ({"link_secret_key": "another"}, r"SignatureDoesNotMatch.*link_secret_key"),
        ({"public_endpoint": "elsewhere"}, r"NoSuchBucket.*public_endpoint"),
    ],
    ids=["key", "secret", "address"],
)
async def test_wrong_keys_and_addresses_of_links_are_named(
    minio: S3Server, wrong: dict[str, str], said: str, tmp_path: Path
) -> None:
    settings = with_link_key(minio)
    with contextlib.ExitStack() as stack:
        if "public_endpoint" in wrong:
            other = stack.enter_context(running_minio(tmp_path))
            settings = evolve(settings, public_endpoint=other.endpoint, link_access_key="", link_secret_key="")
        else:
            settings = evolve(settings, **wrong)
        async with open_minio(settings, SystemClock()) as store:
            with pytest.raises(Unavailable, match=said) as caught:
                await store.prepare()
            assert "bind_headers" not in str(caught.value)


async def test_a_link_key_that_may_not_write_is_told(minio: S3Server) -> None:
    settings = with_link_key(minio)
    admin = MinioAdmin(
        endpoint=urlsplit(minio.endpoint).netloc,
        credentials=StaticProvider(minio.access_key, minio.secret_key),
        secure=False,
    )
    admin.policy_unset([settings.link_access_key], user=settings.link_access_key)
    admin.policy_set("readonly", user=settings.link_access_key)
    async with open_minio(settings, SystemClock()) as store:
        with pytest.raises(Unavailable, match=r"AccessDenied.*allowed to write `upload/`"):
            await store.prepare()
