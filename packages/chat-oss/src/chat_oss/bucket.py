"""What a bucket needs before the first upload. Every step may be repeated."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from xml.sax.saxutils import escape

from minio import Minio
from minio.commonconfig import ENABLED, Filter
from minio.error import S3Error
from minio.lifecycleconfig import AbortIncompleteMultipartUpload, Expiration, LifecycleConfig, Rule

STAGING_PREFIX = "upload/"
STAGING_DAYS = 2
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
    methods = "".join(f"<AllowedMethod>{method}</AllowedMethod>" for method in ("GET", "HEAD", "PUT", "POST"))
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
