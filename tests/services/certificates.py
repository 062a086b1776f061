"""Certificates for tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.services.absent import absent


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1, ``public.crt`` and ``private.key``; its folder."""
    if shutil.which("openssl") is None:
        absent("no openssl to make a certificate")
    folder.mkdir()
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=chat-test", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(folder / "private.key"), "-out", str(folder / "public.crt"),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return folder
