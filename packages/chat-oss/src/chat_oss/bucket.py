"""What a bucket needs before the first upload. Every step may be repeated."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from io import BytesIO
from xml.sax.saxutils import escape
from zlib import crc32

import urllib3
from chat_common.errors import Unavailable
from chat_common.ports.objects import ObjectLinks
from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.error import S3Error
from minio.lifecycleconfig import AbortIncompleteMultipartUpload, Expiration, LifecycleConfig, Rule

STAGING_PREFIX = "upload/"
STAGING_DAYS = 2
_CHUNKED = {
    "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "x-amz-decoded-content-length": "6",
    "x-amz-trailer": "x-amz-checksum-crc32",
}
_UNSIGNED = b"6\r\npublic\r\n0\r\nx-amz-checksum-crc32:" + base64.b64encode(crc32(b"public").to_bytes(4)) + b"\r\n\r\n"
"""An upload whose signature MinIO forgets to check (CVE-2026-40344, CVE-2026-41145)."""
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")
_NOT_THERE = frozenset({"NotImplemented", "MethodNotAllowed", "InvalidArgument", "MalformedXML", "InvalidRequest"})


def prepare_bucket(client: Minio, bucket: str, origins: Sequence[str]) -> Sequence[str]:
    """Make the bucket, its lifecycle and its CORS rules; a line about each. Raises minio-py's errors."""
    return [_make(client, bucket), _lifecycle(client, bucket), _cors(client, bucket, origins)]


def _make(client: Minio, bucket: str) -> str:
    if client.bucket_exists(bucket):
        return f"bucket {bucket}: was there"
    try:
        client.make_bucket(bucket)
    except S3Error as error:
        if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise
    return f"bucket {bucket}: made"


def _lifecycle(client: Minio, bucket: str) -> str:
    # The sweep removes what was begun and never finished; this is for what only the store knows of.
    scope = Filter(prefix=STAGING_PREFIX)
    expire = Rule(ENABLED, scope, rule_id="chat-staging", expiration=Expiration(days=STAGING_DAYS))
    abort = Rule(
        ENABLED,
        scope,
        rule_id="chat-parts",
        abort_incomplete_multipart_upload=AbortIncompleteMultipartUpload(days_after_initiation=STAGING_DAYS),
    )
    try:
        client.set_bucket_lifecycle(bucket, LifecycleConfig([expire, abort]))
        return f"lifecycle: {STAGING_PREFIX} and unfinished parts go after {STAGING_DAYS} days"
    except S3Error as error:
        if error.code not in _NOT_THERE:
            raise
    client.set_bucket_lifecycle(bucket, LifecycleConfig([expire]))
    return f"lifecycle: {STAGING_PREFIX} goes after {STAGING_DAYS} days; unfinished parts by the store's own rule"


def _cors(client: Minio, bucket: str, origins: Sequence[str]) -> str:
    allowed = "".join(f"<AllowedOrigin>{escape(origin)}</AllowedOrigin>" for origin in origins)
    methods = "".join(f"<AllowedMethod>{method}</AllowedMethod>" for method in ("GET", "HEAD", "PUT"))
    body = (
        f"<CORSConfiguration><CORSRule>{allowed}{methods}<AllowedHeader>*</AllowedHeader>"
        "<ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>86400</MaxAgeSeconds></CORSRule></CORSConfiguration>"
    ).encode()
    digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    try:
        client._execute("PUT", bucket, body=body, headers={"Content-MD5": digest}, query_params={"cors": ""})
    except S3Error as error:
        if error.code not in _NOT_THERE:
            raise
        return (
            "CORS: this server has one setting for all buckets (MinIO: `mc admin config set … api cors_allow_origin`)"
        )
    return f"CORS: pages of {', '.join(origins)} may use links"


def try_links(links: ObjectLinks, client: Minio, pool: urllib3.PoolManager, bucket: str) -> str:
    """Use an upload link as it is meant, then as a thief would; a line about it. `Unavailable`: do not use this store.

    A store that does not sign for headers which it obeys lets every uploader read every file. One that takes unsigned
    uploads is only warned of, for the last open MinIO is one.
    """
    name = f"probe-{secrets.token_hex(8)}"
    secret, target, foreign = f"{STAGING_PREFIX}{name}-secret", f"{STAGING_PREFIX}{name}", f"file/{name}"
    theft = {"x-amz-copy-source": f"/{bucket}/{secret}"}
    client.put_object(bucket, secret, BytesIO(b"secret"), 6)
    try:
        _try_reading(links.download_link(secret, seconds=60).url, pool)
        link = links.upload_link(target, size=6, type="text/plain", seconds=60)
        # By the address that clients use: it need not be reachable from here, so the endpoint's is not tried instead.
        stolen = pool.request("PUT", link.url, body=b"public", headers={**link.headers, **theft}, retries=False)
        if stolen.status < 400:
            raise Unavailable(
                "An upload link can be made to copy other objects: [object_store.minio] bind_headers = true, and where "
                "it is, this store cannot be used safely"
            )
        meant = pool.request("PUT", link.url, body=b"public", headers=dict(link.headers), retries=False)
        if meant.status >= 400:
            advice = f"the key that signs them must be allowed to write `{STAGING_PREFIX}`"
            if "x-amz-copy-source" in link.url:
                advice += (
                    "; [object_store.minio] bind_headers = false, if this is a store that refuses unsigned x-amz "
                    "headers by itself, such as AWS S3 or SeaweedFS"
                )
            raise Unavailable(f"Upload links are refused ({_refusal(meant)}): {advice}")
        before = client.put_object(bucket, foreign, BytesIO(b"secret"), 6).etag
        pool.request("PUT", link.url.replace(target, foreign), body=_UNSIGNED, headers=_CHUNKED, retries=False)
        if client.stat_object(bucket, foreign).etag != before:
            return (
                "links: WARNING: this store takes uploads that nobody has signed (CVE-2026-40344): who has seen a link "
                "can overwrite files whose keys he knows. Sign links with a key that can write `upload/` alone: "
                "[object_store.minio] link_access_key, link_secret_key; see docs/files.md"
            )
        return "links: upload, and can neither be made to copy nor to overwrite"
    except urllib3.exceptions.HTTPError as error:
        return f"links: not tried, their address cannot be reached from here ({type(error).__name__})"
    finally:
        for key in (secret, target, foreign):
            client.remove_object(bucket, key)


def _try_reading(url: str, pool: urllib3.PoolManager) -> None:
    """A plain link to an object that is there. Refused: the keys or the address are wrong, whatever else is right."""
    answer = pool.request("GET", url, retries=False)
    if answer.status == 200 and answer.data == b"secret":
        return
    reason = _refusal(answer)
    where = "[object_store.minio] "
    advice = {
        "InvalidAccessKeyId": "link_access_key (empty: access_key): the store does not know it",
        "SignatureDoesNotMatch": "link_secret_key (empty: secret_key) is wrong, or what answers at public_endpoint "
        "hands the store another Host than its own",
        "AccessDenied": "link_access_key must be allowed to read the bucket",
    }.get(reason, "public_endpoint (empty: endpoint) does not lead to this store")
    raise Unavailable(f"Download links are refused ({reason}): {where}{advice}")


def _refusal(answer: urllib3.BaseHTTPResponse) -> str:
    """S3's code, or HTTP's."""
    found = _CODE.search(answer.data)
    return found[1].decode() if found else str(answer.status)
