"""A real MinIO server on a free port of 127.0.0.1.

Taken from: ``CHAT_TEST_MINIO`` (``http://ACCESS:SECRET@host:port`` of a running one), ``minio`` on PATH, the build kept
in the user's cache folder, or built there now with Go (once, some minutes).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.s3 import S3Address, address_from_environment, free_port, started, wait_until_answers

MODULE = "github.com/minio/minio@latest"


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interesting-chat" / "bin"


def find_binary() -> str | None:
    """The server's binary; builds it if Go is here and nobody has built it yet."""
    kept = cache_folder() / "minio"
    if found := shutil.which("minio"):
        return found
    if not kept.exists() and (go := shutil.which("go")):
        kept.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([go, "install", MODULE], env={**os.environ, "GOBIN": str(kept.parent)}, check=True, timeout=900)
    return str(kept) if kept.exists() else None


@contextlib.contextmanager
def running_minio(folder: Path, *, port: int | None = None) -> Iterator[S3Address]:
    """Give ``port`` to start it again where it was, over the same folder."""
    known = address_from_environment("CHAT_TEST_MINIO")
    if known is not None and port is None:
        yield known
        return
    binary = find_binary()
    if binary is None:
        reason = "no MinIO: neither CHAT_TEST_MINIO, nor minio on PATH, nor Go to build it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    address = S3Address(f"http://127.0.0.1:{port or free_port()}", "chat-test-key", "chat-test-secret")
    environment = {
        **os.environ,
        "MINIO_ROOT_USER": address.access_key,
        "MINIO_ROOT_PASSWORD": address.secret_key,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "MINIO_CONFIG_DIR": str(folder / "minio-config"),
    }
    command = [binary, "server", "--quiet", "--address", address.netloc, str(folder / "minio-data")]
    with started(command, folder / "minio.log", environment) as process:
        wait_until_answers(f"{address.endpoint}/minio/health/live", process)
        yield S3Address(address.endpoint, address.access_key, address.secret_key, process)
