"""The settings of the MinIO store, apart from its client library: that one takes a third of a second to import."""

from __future__ import annotations

from typing import Annotated

from attrs import frozen
from chat_common.settings import setting
from msgspec import Meta

from chat_oss.guard import GuardSettings


@frozen(kw_only=True)
class MinioSettings(GuardSettings):
    """``[object_store.minio]``"""

    endpoint: str = setting(
        "http://127.0.0.1:9000", help="Where the S3 API is, with http:// or https://, seen from here."
    )
    public_endpoint: str = setting("", help="The same as clients see it, for links; empty: as `endpoint`.")
    bucket: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] = setting(
        "chat", help="The bucket; `chat-server oss init` makes it."
    )
    region: str = setting("us-east-1", help="The region that signatures name.")
    access_key: str = setting("", help="The access key.", secret=True)
    secret_key: str = setting("", help="The secret key.", secret=True)
    link_access_key: str = setting(
        "",
        help="The access key that links are signed with; empty: `access_key`. One that may only read the bucket and "
        "write `upload/` there bounds what a leaked link, or a fault of the store, can do.",
        secret=True,
    )
    link_secret_key: str = setting("", help="Its secret key.", secret=True)
    bind_headers: bool = setting(
        True,
        help="Sign into upload links that they neither copy nor unpack. MinIO needs it; off for stores that refuse "
        "unsigned x-amz headers by themselves (AWS S3, SeaweedFS). `chat-server oss init` tries which is right.",
    )
    ca_file: str = setting("", help="A PEM file of authorities to trust; empty: the usual ones.")
    verify_tls: bool = setting(True, help="Check the server's certificate. Never switch it off outside a test.")
    threads: Annotated[int, Meta(ge=1, le=64)] = setting(16, help="Most requests to the store at once.")
    connect_timeout: Annotated[float, Meta(gt=0)] = setting(1.0, help="Seconds until a connection must stand.")
    read_timeout: Annotated[float, Meta(gt=0)] = setting(5.0, help="Seconds that the store may be silent.")
