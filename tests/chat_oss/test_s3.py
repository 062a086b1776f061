from __future__ import annotations

import time

import pytest
from attrs import evolve
from chat_common.clock import ManualClock
from chat_common.errors import Unavailable
from chat_common.settings import SetupError
from chat_oss.s3 import MinioSettings, open_minio
from minio import Minio

from tests.services.process import free_port

SETTINGS = MinioSettings(access_key="key", secret_key="a secret that is never printed")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (evolve(SETTINGS, endpoint="127.0.0.1:9000"), "endpoint"),
        (evolve(SETTINGS, endpoint="ftp://127.0.0.1"), "endpoint"),
        (evolve(SETTINGS, endpoint="http://127.0.0.1:9000/path"), "endpoint"),
        *[
            (evolve(SETTINGS, public_endpoint=address), "[object_store.minio] public_endpoint")
            for address in [
                "files.example.org",
                "files.example.org:9000",
                "ftp://x",
                "https://",
                "https://:9000",
                "https://files.example.org/below",
                "https://files.example.org?a=b",
                "https://files.example.org:port",
                "https://[::1",
                "https://key@files.example.org",
                "https://files.example.org ",
            ]
        ],
        (evolve(SETTINGS, access_key=""), "access_key"),
        (evolve(SETTINGS, secret_key=""), "secret_key"),
    ],
)
async def test_settings_that_cannot_work_are_named(settings: MinioSettings, named: str) -> None:
    with pytest.raises(SetupError) as caught:
        async with open_minio(settings):
            pass
    assert named in str(caught.value)


def test_secrets_are_not_printed() -> None:
    assert "never printed" not in repr(SETTINGS)


async def test_the_server_starts_without_its_store_and_hears_soon_that_it_is_dead() -> None:
    settings = evolve(SETTINGS, endpoint=f"http://127.0.0.1:{free_port()}", connect_timeout=0.2)
    async with open_minio(settings) as store:
        began = time.perf_counter()
        with pytest.raises(Unavailable):
            await store.ready()
        assert time.perf_counter() - began < 5
        with pytest.raises(Unavailable):
            await store.put("a", b"x")


async def test_links_lead_to_the_address_that_clients_see() -> None:
    settings = evolve(SETTINGS, public_endpoint="https://files.example.org/")
    async with open_minio(settings, ManualClock()) as store:
        for url in (
            store.upload_link("a", size=1, type="a/b", seconds=60).url,
            store.download_link("a", seconds=60).url,
            store.part_link("a", "u", 1, size=1, seconds=60).url,
        ):
            assert url.startswith("https://files.example.org/chat")
        assert store.mount is None
        assert store.origin == "https://files.example.org"


@pytest.mark.parametrize(
    "name",
    [
        "_create_multipart_upload",
        "_upload_part",
        "_upload_part_copy",
        "_list_parts",
        "_complete_multipart_upload",
        "_abort_multipart_upload",
        "_list_multipart_uploads",
        "_execute",
    ],
)
def test_what_minio_py_keeps_to_itself_and_we_use_is_still_there(name: str) -> None:
    assert callable(getattr(Minio, name))
