"""A server that speaks S3: where it is, how to get in, and how to kill it."""

from __future__ import annotations

import os
import ssl
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from attrs import frozen
from chat_oss.s3 import MinioSettings

from tests.services.process import Child


@frozen
class S3Server:
    """``child`` is None when somebody else runs it; then it cannot be killed. ``bind_headers``: as in the settings."""

    endpoint: str
    access_key: str
    secret_key: str
    child: Child | None = None
    bind_headers: bool = True

    @property
    def port(self) -> int:
        return urlsplit(self.endpoint).port or 80

    def settings(self, bucket: str, *, endpoint: str | None = None) -> MinioSettings:
        return MinioSettings(
            endpoint=endpoint or self.endpoint,
            bucket=bucket,
            access_key=self.access_key,
            secret_key=self.secret_key,
            bind_headers=self.bind_headers,
        )

    def start(self, path: str = "/") -> None:
        if self.child is not None:
            self.child.start(lambda: answers(self.endpoint + path))

    def kill(self) -> None:
        assert self.child is not None, "a server that somebody else runs is not ours to kill"
        self.child.kill()


def from_environment(name: str, *, bind_headers: bool = True) -> S3Server | None:
    """``http://ACCESS:SECRET@host:port`` of a running server."""
    value = os.environ.get(name)
    if not value:
        return None
    parts = urlsplit(value)
    return S3Server(
        f"{parts.scheme}://{parts.hostname}:{parts.port}",
        parts.username or "",
        parts.password or "",
        None,
        bind_headers,
    )


def answers(url: str) -> bool:
    """Any HTTP answer below 500 will do."""
    try:
        # Whether it is there is all that is asked; who it is, the test asks.
        urllib.request.urlopen(url, timeout=2, context=ssl._create_unverified_context()).close()
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True
