"""MinIO and any other S3: minio-py in a bounded pool of threads, with limits on how long a server may be silent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import islice
from typing import Any, TypeVar

import urllib3
from chat_common.clock import Clock, SystemClock
from chat_common.errors import ChatError, Invalid, NotFound, Unavailable
from chat_common.ports.objects import (
    LINK_NAME_CHARS,
    PART_MIN,
    Link,
    ObjectInfo,
    Part,
    check_key,
    check_prefix,
    check_type,
)
from minio.datatypes import Part as MinioPart
from minio.error import S3Error

from chat_oss.bucket import prepare_bucket, try_links
from chat_oss.disposition import content_disposition, content_type
from chat_oss.limits import check_part, check_seconds, check_size
from chat_oss.s3_client import connection_pool, make_client, make_signer, translating
from chat_oss.s3_settings import MinioSettings as MinioSettings

T = TypeVar("T")

CHUNK = 1024 * 1024
PUT_PART = 8 * 1024 * 1024
LIST_PAGE = 500
COPY_PART = 64 * 1024 * 1024
"""What a store copies within the time that it may be silent; larger contents are copied in such pieces."""
BOUND = ("x-amz-copy-source", "x-amz-meta-snowball-auto-extract")
"""Headers that make something else of a PUT, signed as empty: with the first it reads any object of the bucket, with
the second MinIO unpacks an archive over any of them. They stand in the link's query, where MinIO takes the values of
signed headers from that a request does not have."""


class MinioObjectStore:
    """`chat_common.ports.objects.ObjectStore` over one bucket. Links lead straight to the store."""

    mount = None

    def __init__(self, settings: MinioSettings, clock: Clock) -> None:
        self._bucket = settings.bucket
        self._bound = dict.fromkeys(BOUND, "") if settings.bind_headers else {}
        self._clock = clock
        self._signer = make_signer(settings)
        self.origin = (settings.public_endpoint or settings.endpoint).rstrip("/")
        self._pool = connection_pool(settings)
        self._client = make_client(settings, self._pool)
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="chat-s3")

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, translating, work, *arguments)

    # --- contents

    async def put(
        self, key: str, data: bytes | AsyncIterable[bytes], *, type: str = "application/octet-stream"
    ) -> ObjectInfo:
        check_key(key)
        check_type(type)
        if isinstance(data, bytes):
            return await self._run(self._put, key, data, type)
        pieces = _pieces(data, PUT_PART)
        first = await anext(pieces, b"")
        second = await anext(pieces, None)
        if second is None:
            return await self._run(self._put, key, first, type)
        upload = await self.begin_parts(key, type=type)
        try:
            parts = [await self._part(key, upload, 1, first), await self._part(key, upload, 2, second)]
            async for piece in pieces:
                parts.append(await self._part(key, upload, len(parts) + 1, piece))
            return await self.complete_parts(key, upload, parts)
        except BaseException:
            with contextlib.suppress(ChatError):
                await asyncio.shield(self._run(self._abort, key, upload))
            raise

    def _put(self, key: str, data: bytes, type: str) -> ObjectInfo:
        # One PUT: put_object needs at least a part's size to never split.
        result = self._client.put_object(
            self._bucket, key, BytesIO(data), len(data), content_type=type, part_size=max(PART_MIN, len(data))
        )
        return ObjectInfo(key, len(data), result.etag or "", self._clock.wall_ms(), type)

    async def _part(self, key: str, upload: str, number: int, data: bytes) -> Part:
        etag = await self._run(self._client._upload_part, self._bucket, key, data, None, upload, number)
        return Part(number, len(data), etag)

    @contextlib.asynccontextmanager
    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        if start < 0 or (length is not None and length < 0):
            raise Invalid(
                "start: A range begins at 0 or later, and its length is not negative.", field="start", limit=0
            )
        response = await self._run(self._open, check_key(key), start, length)

        async def chunks() -> AsyncIterator[bytes]:
            # As stored: what a client has sent may call itself compressed, and would be unpacked here without a bound.
            while response is not None and (chunk := await self._run(response.read, CHUNK, False)):
                yield chunk

        try:
            yield chunks()
        finally:
            if response is not None:
                await asyncio.shield(self._run(_release, response))

    def _open(self, key: str, start: int, length: int | None) -> urllib3.BaseHTTPResponse | None:
        if length == 0:
            self._stat(key)
            return None
        try:
            return self._client.get_object(self._bucket, key, offset=start, length=length or 0)
        except S3Error as error:
            if error.code == "InvalidRange":
                return None
            raise

    async def stat(self, key: str) -> ObjectInfo:
        return await self._run(self._stat, check_key(key))

    def _stat(self, key: str) -> ObjectInfo:
        found = self._client.stat_object(self._bucket, key)
        assert found.last_modified is not None
        return ObjectInfo(
            key,
            found.size or 0,
            found.etag or "",
            round(found.last_modified.timestamp() * 1000),
            found.content_type or "application/octet-stream",
        )

    async def copy(self, source: str, target: str, *, type: str | None = None, size: int | None = None) -> None:
        check_key(source)
        check_key(target)
        await self._run(self._copy, source, target, type and check_type(type), size)

    def _copy(self, source: str, target: str, type: str | None, size: int | None) -> None:
        if type is None or size is None or source == target:
            found = self._stat(source)
            if source == target:  # nothing to do, and S3 refuses it
                return
            type, size = type or found.type, found.size
        # Only the content goes along: encoding, caching, tags and redirects came from the writer of the source.
        headers: dict[str, str | list[str] | tuple[str]] = {
            "x-amz-copy-source": f"/{self._bucket}/{source}",
            "x-amz-metadata-directive": "REPLACE",
            "x-amz-tagging-directive": "REPLACE",
            "Content-Type": type,
        }
        if size > COPY_PART:
            self._copy_in_parts(headers["x-amz-copy-source"], target, type, size)
            return
        answer = self._client._execute("PUT", self._bucket, target, headers=headers)
        if b"<Error" in answer.data:  # S3 may find out after it has said 200
            raise Unavailable("The object store could not copy.")

    def _copy_in_parts(self, source: str | list[str] | tuple[str], target: str, type: str, size: int) -> None:
        upload = self._client._create_multipart_upload(self._bucket, target, {"Content-Type": type})
        try:
            parts = []
            for number, start in enumerate(range(0, size, COPY_PART), 1):
                stretch = f"bytes={start}-{min(size, start + COPY_PART) - 1}"
                headers = {"x-amz-copy-source": source, "x-amz-copy-source-range": stretch}
                etag, _ = self._client._upload_part_copy(self._bucket, target, upload, number, headers)
                parts.append(MinioPart(number, etag))
            self._client._complete_multipart_upload(self._bucket, target, upload, parts)
        except BaseException:
            with contextlib.suppress(ChatError):
                self._abort(target, upload)
            raise

    async def delete(self, keys: Sequence[str]) -> None:
        checked = [check_key(key) for key in keys]

        def work() -> None:
            for key in checked:
                self._client.remove_object(self._bucket, key)

        await self._run(work)

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        found = self._client.list_objects(self._bucket, prefix=check_prefix(prefix), recursive=True)

        def page() -> list[ObjectInfo]:
            return [
                ObjectInfo(
                    item.object_name or "",
                    item.size or 0,
                    (item.etag or "").strip('"'),
                    round(item.last_modified.timestamp() * 1000) if item.last_modified else 0,
                )
                for item in islice(found, LIST_PAGE)
            ]

        while infos := await self._run(page):
            for info in infos:
                yield info

    async def free(self) -> int | None:
        return None

    async def ready(self) -> None:
        exists = await self._run(self._client.bucket_exists, self._bucket)
        if not exists:
            raise Unavailable(f"The bucket {self._bucket} does not exist: make it with `chat-server oss init`.")

    async def prepare(self, *, origins: Sequence[str] = ()) -> Sequence[str]:
        """Make the bucket; let it drop ``upload/`` after two days; let pages of ``origins`` (none: all) use links;
        try whether an upload link can be abused. `Unavailable` when it can, or does not work."""
        lines = await self._run(prepare_bucket, self._client, self._bucket, origins or ["*"])
        return [*lines, await self._run(try_links, self, self._client, self._pool, self._bucket)]

    # --- links

    def upload_link(self, key: str, *, size: int, type: str, seconds: int) -> Link:
        check_size(size)
        return self._sized_put(check_key(key), seconds, size, {"content-type": check_type(type)}, {})

    def download_link(
        self,
        key: str,
        *,
        seconds: int,
        name: str | None = None,
        type: str | None = None,
        inline: bool = False,
        utf8: bool = False,
    ) -> Link:
        query = {"response-content-disposition": content_disposition((name or "")[:LINK_NAME_CHARS], inline=inline)}
        if type is not None:
            query["response-content-type"] = content_type(check_type(type), utf8=utf8)
        return self._link("GET", check_key(key), seconds, query, {})

    def _sized_put(self, key: str, seconds: int, size: int, headers: dict[str, str], query: dict[str, str]) -> Link:
        signed = {**headers, **self._bound, "content-length": str(size)}
        link = self._link("PUT", key, seconds, {**query, **self._bound}, signed)
        # Every HTTP client sends Content-Length by itself, and a browser lets nobody set it.
        shown = {"Content-Type": headers["content-type"]} if headers else {}
        return Link("PUT", link.url, link.expires_at, shown)

    def _link(self, method: str, key: str, seconds: int, query: dict[str, str], headers: dict[str, str]) -> Link:
        now = self._clock.wall_ms()
        url = self._signer.url(
            method,
            self.origin,
            f"/{self._bucket}/{key}",
            now_ms=now,
            seconds=check_seconds(seconds),
            query=query,
            headers=headers,
        )
        return Link(method, url, now + seconds * 1000)

    # --- parts; minio-py has them, but keeps them to itself: a test pins the methods used here

    async def begin_parts(self, key: str, *, type: str) -> str:
        headers = {"Content-Type": check_type(type)}
        return await self._run(self._client._create_multipart_upload, self._bucket, check_key(key), headers)

    def part_link(self, key: str, upload: str, number: int, *, size: int, seconds: int) -> Link:
        check_size(size)
        query = {"partNumber": str(check_part(number)), "uploadId": upload}
        return self._sized_put(check_key(key), seconds, size, {}, query)

    async def parts(self, key: str, upload: str) -> Sequence[Part]:
        def work() -> list[Part]:
            newest: dict[int, MinioPart] = {}
            marker = None
            while True:
                page = self._client._list_parts(self._bucket, key, upload, part_number_marker=marker)
                for part in page.parts:
                    # A part that came again stands twice in SeaweedFS's answer.
                    other = newest.get(part.part_number)
                    if other is None or _age(other) <= _age(part):
                        newest[part.part_number] = part
                marker = page.next_part_number_marker
                if not page.is_truncated or not marker:
                    return [Part(number, part.size or 0, part.etag) for number, part in sorted(newest.items())]

        check_key(key)
        return await self._run(work)

    async def complete_parts(self, key: str, upload: str, parts: Sequence[Part]) -> ObjectInfo:
        def work() -> ObjectInfo:
            wanted = [MinioPart(part.number, part.etag) for part in sorted(parts, key=lambda part: part.number)]
            self._client._complete_multipart_upload(self._bucket, key, upload, wanted)
            return self._stat(key)

        check_key(key)
        if not parts:
            raise Invalid("parts: Name at least one part.", field="parts", limit=1)
        return await self._run(work)

    async def abort_parts(self, key: str) -> None:
        def work() -> None:
            page = self._client._list_multipart_uploads(self._bucket, prefix=key)
            for upload in page.uploads:
                if upload.object_name == key and upload.upload_id:
                    self._abort(key, upload.upload_id)

        check_key(key)
        await self._run(work)

    def _abort(self, key: str, upload: str) -> None:
        with contextlib.suppress(NotFound):
            translating(self._client._abort_multipart_upload, self._bucket, key, upload)

    async def aclose(self) -> None:
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._pool.clear()


@contextlib.asynccontextmanager
async def open_minio(settings: MinioSettings, clock: Clock | None = None) -> AsyncIterator[MinioObjectStore]:
    """The store of a bucket. Does no I/O: the server starts while the store is down."""
    store = MinioObjectStore(settings, clock or SystemClock())
    try:
        yield store
    finally:
        await store.aclose()


def _age(part: MinioPart) -> float:
    return part.last_modified.timestamp() if part.last_modified else 0.0


def _release(response: urllib3.BaseHTTPResponse) -> None:
    response.close()
    response.release_conn()


async def _pieces(data: AsyncIterable[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces of exactly ``size``, the last one shorter."""
    waiting = bytearray()
    async for chunk in data:
        waiting += chunk
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
    if waiting:
        yield bytes(waiting)
