"""Starting a server that speaks S3, and saying where it is."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from attrs import frozen

START_SECONDS = 60


@frozen
class S3Address:
    """Where it is and how to get in; ``process`` is None when somebody else runs it."""

    endpoint: str
    access_key: str
    secret_key: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def netloc(self) -> str:
        return urlsplit(self.endpoint).netloc


def address_from_environment(name: str) -> S3Address | None:
    value = os.environ.get(name)
    if not value:
        return None
    parts = urlsplit(value)
    return S3Address(f"{parts.scheme}://{parts.hostname}:{parts.port}", parts.username or "", parts.password or "")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def started(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The process while the context lasts; its output in ``log``. It ends by SIGKILL: nothing of it is needed again."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


def wait_until_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    """Any HTTP answer below 500 will do."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode} before it answered")
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"no answer from {url} within {START_SECONDS} s")
        time.sleep(0.05)
