"""The store that needs nothing: a folder, and links that the server itself serves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode, urlsplit

from attrs import frozen
from chat_common.clock import Clock
from chat_common.errors import Invalid, Unavailable
from chat_common.ports.objects import (
    LINK_NAME_CHARS,
    Link,
    ObjectInfo,
    ObjectMount,
    Part,
    check_key,
    check_type,
)
from chat_common.settings import SetupError, setting
from msgspec import Meta

from chat_oss import tickets
from chat_oss.addresses import check_address
from chat_oss.admission import Admission
from chat_oss.disk import Disk
from chat_oss.folder import Folder
from chat_oss.guard import GuardSettings
from chat_oss.limits import check_part, check_seconds, check_size
from chat_oss.serving import LocalServing
from chat_oss.tickets import Ticket

MOUNT = "/objects"
"""Where the server serves the links, below its own address."""
CHUNK = 1024 * 1024
LIST_PAGE = 500
STALE_SECONDS = 24 * 3600
UPLOADS = 128
"""Each holds a file and up to half a MiB in memory."""
STALL_SECONDS = 30.0
MIN_FREE = 1024**3


@frozen(kw_only=True)
class LocalSettings(GuardSettings):
    """``[object_store.local]``"""

    path: str = setting("", help="The folder that holds the objects; empty: objects, in the data folder.")
    public_url: str = setting(
        "", help="Address of the server in links, such as https://chat.example.org; empty: links are relative to it."
    )
    threads: Annotated[int, Meta(ge=1, le=64)] = setting(8, help="Most file operations at once.")
    min_free: Annotated[int, Meta(ge=0)] = setting(
        MIN_FREE, help="Bytes of the disk that uploads leave free; below it they are refused, and texts go on."
    )
    uploads: Annotated[int, Meta(ge=1, le=10_000)] = setting(
        UPLOADS, help="Most uploads at once through the links; more are answered 503 with Retry-After."
    )
    stall: Annotated[float, Meta(gt=0, le=3600)] = setting(
        STALL_SECONDS, help="Seconds without a byte after which an upload through a link is cut (408) and dropped."
    )


class LocalObjectStore:
    """`chat_common.ports.objects.ObjectStore` over a `Folder`. What is stored is on disk before a call returns.

    For ``uploads``, ``stall`` (seconds) and ``min_free`` (bytes) see `LocalSettings`.
    """

    def __init__(
        self,
        folder: Folder,
        secret: bytes,
        clock: Clock,
        *,
        public_url: str = "",
        threads: int = 8,
        uploads: int = UPLOADS,
        stall: float = STALL_SECONDS,
        min_free: int = 0,
    ) -> None:
        self.folder = folder
        self._secret = secret
        self._clock = clock
        # Relative links have no leading slash: the server may itself be mounted below a path.
        self._address = f"{public_url.rstrip('/')}{MOUNT}/" if public_url else f"{MOUNT[1:]}/"
        self._disk = Disk(folder, threads, min_free)
        self._run = self._disk.run
        self._serving = LocalServing(self._disk, secret, clock, Admission(uploads, stall))

    # --- contents

    async def put(
        self, key: str, data: bytes | AsyncIterable[bytes], *, type: str = "application/octet-stream"
    ) -> ObjectInfo:
        check_key(key)
        check_type(type)
        async with self._disk.draft() as draft:
            if isinstance(data, bytes):
                await self._run(draft.write, data)
            else:
                async for chunk in data:
                    await self._run(draft.write, chunk)
            return await self._run(self.folder.commit, draft, key, type)

    @contextlib.asynccontextmanager
    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        if start < 0 or (length is not None and length < 0):
            raise Invalid(
                "start: A range begins at 0 or later, and its length is not negative.", field="start", limit=0
            )
        _, file = await self._run(self.folder.open, key)

        async def chunks() -> AsyncIterator[bytes]:
            left = length
            while left is None or left > 0:
                chunk = await self._run(file.read, CHUNK if left is None else min(CHUNK, left))
                if not chunk:
                    return
                if left is not None:
                    left -= len(chunk)
                yield chunk

        try:
            await self._run(file.seek, start, 1)
            yield chunks()
        finally:
            await asyncio.shield(self._run(file.close))

    async def stat(self, key: str) -> ObjectInfo:
        return await self._run(self.folder.stat, key)

    async def copy(self, source: str, target: str, *, type: str | None = None, size: int | None = None) -> None:
        await self._run(self.folder.copy, check_key(source), check_key(target), type and check_type(type))

    async def delete(self, keys: Sequence[str]) -> None:
        def work() -> None:
            for key in checked:
                self.folder.delete(key)

        checked = [check_key(key) for key in keys]
        await self._run(work)

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        found = self.folder.list(prefix)
        while page := await self._run(lambda: list(islice(found, LIST_PAGE))):
            for info in page:
                yield info

    async def free(self) -> int | None:
        return await self._disk.free()

    async def ready(self) -> None:
        def write() -> None:
            self.folder.draft().drop()

        await self._run(write)
        await self._disk.require(1)

    async def prepare(self, *, origins: Sequence[str] = ()) -> Sequence[str]:
        """The folder was made when the store was opened."""
        return [f"folder {self.folder.root}: ready"]

    # --- links

    def upload_link(self, key: str, *, size: int, type: str, seconds: int) -> Link:
        check_size(size)
        ticket = Ticket("PUT", check_key(key), self._until(seconds), size=size, type=check_type(type))
        return Link("PUT", self._url(ticket), ticket.expires_at, {"Content-Type": type})

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
        shown = "" if type is None else check_type(type)
        name = (name or "")[:LINK_NAME_CHARS]
        ticket = Ticket("GET", check_key(key), self._until(seconds), type=shown, name=name, inline=inline, utf8=utf8)
        return Link("GET", self._url(ticket), ticket.expires_at)

    @property
    def origin(self) -> str | None:
        parts = urlsplit(self._address)
        return f"{parts.scheme}://{parts.netloc}" if parts.scheme else None

    @property
    def mount(self) -> ObjectMount:
        return ObjectMount(MOUNT, self._serving)

    def _until(self, seconds: int) -> int:
        return self._clock.wall_ms() + check_seconds(seconds) * 1000

    def _url(self, ticket: Ticket) -> str:
        return f"{self._address}{ticket.key}?{urlencode(tickets.seal(self._secret, ticket))}"

    # --- parts

    async def begin_parts(self, key: str, *, type: str) -> str:
        return await self._run(self.folder.begin_parts, check_key(key), check_type(type))

    def part_link(self, key: str, upload: str, number: int, *, size: int, seconds: int) -> Link:
        check_size(size)
        until = self._until(seconds)
        ticket = Ticket("PUT", check_key(key), until, size=size, upload=upload, number=check_part(number))
        return Link("PUT", self._url(ticket), until)

    async def parts(self, key: str, upload: str) -> Sequence[Part]:
        return await self._run(self.folder.parts, key, upload)

    async def complete_parts(self, key: str, upload: str, parts: Sequence[Part]) -> ObjectInfo:
        await self._disk.require(sum(part.size for part in parts))  # they stay until they are joined
        return await self._run(self.folder.complete_parts, key, upload, parts)

    async def abort_parts(self, key: str) -> None:
        await self._run(self.folder.abort_parts, key)

    async def aclose(self) -> None:
        await self._disk.aclose()


@contextlib.asynccontextmanager
async def open_local(settings: LocalSettings, clock: Clock) -> AsyncIterator[LocalObjectStore]:
    """The store of the folder ``settings.path``; what an earlier crash left half-written is removed."""
    if not settings.path:
        raise SetupError("[object_store.local] path: Say in which folder the objects are to be.")
    if settings.public_url:
        check_address("[object_store.local] public_url", settings.public_url, path=True)

    def prepare() -> tuple[Folder, bytes]:
        folder = Folder(Path(settings.path).absolute())
        folder.prepare(stale_before=clock.wall_ms() / 1000 - STALE_SECONDS)
        return folder, folder.secret()

    try:
        folder, secret = await asyncio.to_thread(prepare)
    except OSError as error:
        raise Unavailable(f"The object folder {settings.path} cannot be used: {error.strerror or error}.") from error
    store = LocalObjectStore(
        folder,
        secret,
        clock,
        public_url=settings.public_url,
        threads=settings.threads,
        uploads=settings.uploads,
        stall=settings.stall,
        min_free=settings.min_free,
    )
    try:
        yield store
    finally:
        await store.aclose()
