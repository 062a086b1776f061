"""MinIO behind TLS, with a certificate that nobody but the settings trusts."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import httpx2
import pytest
from attrs import evolve
from chat_common.errors import Invalid, Unavailable
from chat_oss.s3 import open_minio

from tests.services.certificates import self_signed
from tests.services.minio import running_minio


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
async def test_a_certificate_is_checked_against_the_authorities_that_are_named(tmp_path: Path) -> None:
    certificates = self_signed(tmp_path / "certificates")
    with running_minio(tmp_path, certificates=certificates) as server:
        settings = evolve(server.settings("chat-tls"), ca_file=str(certificates / "public.crt"))
        async with open_minio(settings) as store:
            await store.prepare()
            await store.put("a", b"over TLS")
            assert (await store.stat("a")).size == 8
            assert store.download_link("a", seconds=60).url.startswith("https://127.0.0.1:")
        for stranger in (
            evolve(settings, ca_file=""),
            evolve(settings, endpoint=server.endpoint.replace("https", "http")),
        ):
            async with open_minio(stranger) as store:
                with pytest.raises(Unavailable):
                    await store.stat("a")
        async with open_minio(evolve(settings, ca_file="", verify_tls=False)) as store:
            assert (await store.stat("a")).size == 8


async def test_keys_that_do_not_fit_are_unavailable_and_say_why(tmp_path: Path) -> None:
    with running_minio(tmp_path) as server:
        async with open_minio(server.settings("chat-keys")) as store:
            await store.prepare()
        async with open_minio(evolve(server.settings("chat-keys"), secret_key="another secret")) as store:
            with pytest.raises(Unavailable) as caught:
                await store.put("a", b"x")
            assert "answers SignatureDoesNotMatch" in caught.value.message
        async with open_minio(server.settings("never-made")) as store:
            with pytest.raises(Unavailable) as caught:
                await store.ready()
            assert "oss init" in caught.value.message


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
async def test_what_a_client_has_locked_with_a_key_of_its_own_is_its_fault_not_the_stores(tmp_path: Path) -> None:
    certificates = self_signed(tmp_path / "certificates")
    key = bytes(32)
    locked = {
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": base64.b64encode(key).decode(),
        "x-amz-server-side-encryption-customer-key-md5": base64.b64encode(hashlib.md5(key).digest()).decode(),
    }
    with running_minio(tmp_path, certificates=certificates) as server:
        settings = evolve(server.settings("chat-locked"), ca_file=str(certificates / "public.crt"))
        async with open_minio(settings) as store, httpx2.AsyncClient(verify=False) as web:
            await store.prepare()
            link = store.upload_link("upload/a", size=4, type="text/plain", seconds=60)
            assert (await web.put(link.url, headers={**link.headers, **locked}, content=b"text")).status_code == 200
            with pytest.raises(Invalid):
                await store.copy("upload/a", "file/a", type="text/plain", size=4)
            with pytest.raises(Invalid):
                async with store.get("upload/a"):
                    pass
            await store.delete(["upload/a"])
