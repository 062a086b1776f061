"""``chat-server oss init``."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chat_oss.s3 import open_minio
from chat_server.cli import main
from click.testing import CliRunner, Result

from tests.services.minio import running_minio


def init(data: Path, **environment: str) -> Result:
    return CliRunner().invoke(main, ["--data", str(data), "oss", "init"], env=environment)


def test_a_folder_is_ready_at_once(tmp_path: Path) -> None:
    first = init(tmp_path / "data")
    assert first.exit_code == 0, first.output
    assert "the object store is ready" in first.output
    assert init(tmp_path / "data").output == first.output


def test_a_bucket_is_made_once(tmp_path: Path) -> None:
    with running_minio(tmp_path) as server:
        environment = {
            "CHAT__PORTS__OBJECT_STORE": "minio",
            "CHAT__OBJECT_STORE__MINIO__ENDPOINT": server.endpoint,
            "CHAT__OBJECT_STORE__MINIO__BUCKET": "made-by-init",
            "CHAT__OBJECT_STORE__MINIO__ACCESS_KEY": server.access_key,
            "CHAT__OBJECT_STORE__MINIO__SECRET_KEY": server.secret_key,
        }
        first = init(tmp_path / "data", **environment)
        assert first.exit_code == 0, first.output
        assert "bucket made-by-init: made" in first.output
        assert "lifecycle: upload/" in first.output
        assert "bucket made-by-init: was there" in init(tmp_path / "data", **environment).output

        async def ready() -> None:
            async with open_minio(server.settings("made-by-init")) as store:
                await store.ready()

        asyncio.run(ready())
        wrong = init(tmp_path / "data", **{**environment, "CHAT__OBJECT_STORE__MINIO__SECRET_KEY": "wrong"})
        assert wrong.exit_code == 1
        assert "The object store answers" in wrong.output
        assert "Traceback" not in wrong.output
