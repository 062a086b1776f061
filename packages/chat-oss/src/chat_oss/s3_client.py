"""minio-py as the MinIO store uses it: made from settings, with connections that give up, and errors of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import certifi
import urllib3
from chat_common.errors import Invalid, NotFound, Unavailable
from chat_common.settings import SetupError
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error

from chat_oss.addresses import check_address
from chat_oss.s3_settings import MinioSettings
from chat_oss.signature import Signer

T = TypeVar("T")

_ABSENT = frozenset({"NoSuchKey", "NoSuchUpload", "ResourceNotFound", "NoSuchObject"})
_WRONG = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall"})
_UNREADABLE = frozenset({"InvalidRequest", "InvalidObjectState"})
"""Stored under a key of the client's own, or in an archive: no fault of the store's."""


def make_signer(settings: MinioSettings) -> Signer:
    """What signs the links; `SetupError` when half of its own key is missing."""
    if bool(settings.link_access_key) != bool(settings.link_secret_key):
        raise SetupError("[object_store.minio] link_access_key, link_secret_key: Set both or neither.")
    access, secret = settings.link_access_key or settings.access_key, settings.link_secret_key or settings.secret_key
    return Signer(access, secret, settings.region)


def connection_pool(settings: MinioSettings) -> urllib3.PoolManager:
    """Connections that give up: a silent server must not hold a thread for long."""
    return urllib3.PoolManager(
        maxsize=settings.threads,
        timeout=urllib3.Timeout(connect=settings.connect_timeout, read=settings.read_timeout),
        # One more try for a connection that the server had closed meanwhile; a redirect is never followed unsigned.
        retries=urllib3.Retry(total=1, connect=1, read=1, redirect=0, status=0, backoff_factor=0.1),
        cert_reqs="CERT_REQUIRED" if settings.verify_tls else "CERT_NONE",
        ca_certs=settings.ca_file or certifi.where(),
    )


def make_client(settings: MinioSettings, pool: urllib3.PoolManager) -> Minio:
    """minio-py for these settings; `SetupError` says what is wrong with them."""
    address = urlsplit(check_address("[object_store.minio] endpoint", settings.endpoint))
    if settings.public_endpoint:
        check_address("[object_store.minio] public_endpoint", settings.public_endpoint)
    if not settings.access_key or not settings.secret_key:
        raise SetupError("[object_store.minio] access_key, secret_key: Set both.")
    return Minio(
        address.netloc,
        settings.access_key,
        settings.secret_key,
        secure=address.scheme == "https",
        region=settings.region,
        http_client=pool,
    )


def translating(work: Callable[..., T], *arguments: Any) -> T:
    """A vendor's exception never crosses the port."""
    try:
        return work(*arguments)
    except S3Error as error:
        if error.code in _ABSENT:
            raise NotFound("This object does not exist.") from None
        if error.code in _WRONG:
            raise Invalid(f"parts: {error.message}", field="parts") from None
        if error.code in _UNREADABLE:
            raise Invalid("file: This file cannot be read as it is stored.", field="file") from error
        raise Unavailable(f"The object store answers {error.code}.") from error
    except InvalidResponseError as error:
        raise Unavailable("The object store answers something that is not S3.") from error
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        raise Unavailable(f"The object store does not answer ({type(error).__name__}).") from error
