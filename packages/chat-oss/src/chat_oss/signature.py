"""AWS signature version 4 of presigned requests: no I/O, and the time is an argument.

minio-py signs presigned URLs over the host alone; here further headers can be signed, so that a link says which size
and type it takes. Source of the rules: the S3 API reference, "Authenticating requests (AWS Signature Version 4)".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from attrs import frozen

ALGORITHM = "AWS4-HMAC-SHA256"


@frozen
class Signer:
    """Signs for one pair of keys in one region."""

    access_key: str
    secret_key: str
    region: str

    def url(
        self,
        method: str,
        origin: str,
        path: str,
        *,
        now_ms: int,
        seconds: int,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """A presigned URL. ``headers`` (other than host) are signed too: the request must carry exactly these.

        ``origin`` is ``scheme://host[:port]``; ``path`` is not yet percent-encoded.
        """
        stamp = _stamp(now_ms)
        scope = self._scope(stamp)
        signed = {name.lower(): value.strip() for name, value in (headers or {}).items()}
        signed["host"] = origin.split("://", 1)[1]
        names = ";".join(sorted(signed))
        fields = {
            **(query or {}),
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.access_key}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": names,
        }
        canonical_query = "&".join(f"{_encoded(name)}={_encoded(fields[name])}" for name in sorted(fields))
        canonical_path = quote(path, safe="/-_.~")
        request = "\n".join(
            [
                method,
                canonical_path,
                canonical_query,
                *(f"{name}:{signed[name]}" for name in sorted(signed)),
                "",
                names,
                "UNSIGNED-PAYLOAD",
            ]
        )
        text = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
        return f"{origin}{canonical_path}?{canonical_query}&X-Amz-Signature={self._sign(stamp, text)}"

    def _scope(self, stamp: str) -> str:
        return f"{stamp[:8]}/{self.region}/s3/aws4_request"

    def _sign(self, stamp: str, text: str) -> str:
        key = f"AWS4{self.secret_key}".encode()
        for step in (stamp[:8], self.region, "s3", "aws4_request", text):
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        return key.hex()


def _stamp(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")


def _encoded(value: str) -> str:
    return quote(value, safe="-_.~")
