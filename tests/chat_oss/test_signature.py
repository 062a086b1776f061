from __future__ import annotations

from datetime import UTC, datetime

from chat_oss.signature import Signer

SIGNER = Signer("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
NOW = round(datetime(2013, 5, 24, tzinfo=UTC).timestamp() * 1000)


def test_the_presigned_url_of_the_s3_reference() -> None:
    """The worked example of "Authenticating Requests: Using Query Parameters"."""
    url = SIGNER.url("GET", "https://examplebucket.s3.amazonaws.com", "/test.txt", now_ms=NOW, seconds=86_400)
    assert url == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_signed_headers_are_part_of_it() -> None:
    urls = {
        SIGNER.url("PUT", "http://h:9000", "/b/k", now_ms=NOW, seconds=60, headers=headers)
        for headers in (
            {"Content-Length": "1"},
            {"content-length": "2"},
            {"content-length": "1", "content-type": "a/b"},
        )
    }
    assert len(urls) == 3
    assert sum("X-Amz-SignedHeaders=content-length%3Bhost&" in url for url in urls) == 2
