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

from tests.services.absent import absent
from tests.services.once import alone
from tests.services.process import Child, free_port
from tests.services.s3 import S3Server, from_environment

ENVIRONMENT = "CHAT_TEST_MINIO"
MODULE = "github.com/minio/minio@latest"
READY = "/minio/health/cluster"


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interesting-chat" / "bin"


def find_binary() -> str | None:
    """The server's binary; builds it if Go is here and nobody has built it yet."""
    if found := shutil.which("minio"):
        return found
    kept = cache_folder() / "minio"
    with alone(kept.parent):
        if not kept.exists() and (go := shutil.which("go")):
            environment = {**os.environ, "GOBIN": str(kept.parent)}
            subprocess.run([go, "install", MODULE], env=environment, check=True, timeout=900)
        return str(kept) if kept.exists() else None


@contextlib.contextmanager
def running_minio(folder: Path, *, certificates: Path | None = None) -> Iterator[S3Server]:
    """Its data lies below ``folder`` and outlives `kill` and `start`.

    ``certificates``: a folder with ``public.crt`` and ``private.key``; then it speaks TLS, and is always our own.
    """
    known = from_environment(ENVIRONMENT)
    if known is not None and certificates is None:
        yield known
        return
    binary = find_binary()
    if binary is None:
        absent(f"no MinIO: neither {ENVIRONMENT}, nor minio on PATH, nor Go to build it")
    port = free_port()
    environment = {
        **os.environ,
        "MINIO_ROOT_USER": "chat-test-key",
        "MINIO_ROOT_PASSWORD": "chat-test-secret",
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "MINIO_CONFIG_DIR": str(folder / "minio-config"),
    }
    command = [binary, "server", "--quiet", "--address", f"127.0.0.1:{port}", str(folder / "minio-data")]
    if certificates is not None:
        command += ["--certs-dir", str(certificates)]
    child = Child(command, folder / "minio.log", environment=environment)
    scheme = "http" if certificates is None else "https"
    server = S3Server(f"{scheme}://127.0.0.1:{port}", "chat-test-key", "chat-test-secret", child)
    server.start(READY)
    try:
        yield server
    finally:
        child.kill()
