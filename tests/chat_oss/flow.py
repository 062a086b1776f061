"""A file service over a real store and a table in memory, as a client and its server see it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
from attrs import define, field
from chat_common.clock import Clock, ManualClock
from chat_common.ports.files import (
    AskLinks,
    BeginUpload,
    FileFacts,
    FinishUpload,
    UploadBegun,
    UploadParts,
    UploadRequest,
)
from chat_common.ports.objects import ObjectStore
from chat_oss.files import FilesSettings, StoredFiles, open_files
from chat_oss.folder import Folder
from chat_oss.local import LocalObjectStore

from tests.chat_oss.application import ROOM as ROOM
from tests.chat_oss.application import Application, open_application


@define
class Flow:
    clock: Clock
    store: ObjectStore
    application: Application
    files: StoredFiles
    web: httpx2.AsyncClient
    refs: int = field(default=0)

    async def begin(
        self, data: bytes, type: str, *, user: str = "ada", name: str = "a.bin", **more: Any
    ) -> UploadBegun:
        return await self.files.begin(
            user, BeginUpload(name=name, type=type, **{"conversation": ROOM, "size": len(data), **more})
        )

    async def put(self, request: UploadRequest, data: bytes) -> httpx2.Response:
        return await self.web.request(request.method, request.url, headers=request.headers, content=data)

    async def finish(self, file: str, *, user: str = "ada", ref: str | None = None, **more: Any) -> FileFacts:
        self.refs += 1
        return await self.files.finish(user, ref or f"ref-{self.refs}", FinishUpload(file=file, **more))

    async def upload(self, data: bytes, type: str, *, user: str = "ada", name: str = "a.bin") -> FileFacts:
        begun = await self.begin(data, type, user=user, name=name)
        assert isinstance(begun.put, UploadRequest)
        assert (await self.put(begun.put, data)).status_code == 200
        return await self.finish(begun.file, user=user)

    async def upload_parts(self, data: bytes, type: str, *, user: str = "ada", **more: Any) -> FileFacts:
        """As many as the service asks for; ``more`` goes to the end."""
        begun = await self.begin(data, type, user=user)
        assert isinstance(begun.parts, int)
        asked = await self.files.parts(user, UploadParts(file=begun.file, numbers=list(range(1, begun.parts + 1))))
        start = 0
        for link in asked.links:
            assert (await self.put(link.put, data[start : start + link.size])).status_code == 200
            start += link.size
        return await self.finish(begun.file, user=user, **more)

    async def send(self, data: bytes, type: str, *, user: str = "ada", name: str = "a.bin") -> FileFacts:
        facts = await self.upload(data, type, user=user, name=name)
        await self.application.send(user, facts.file)
        return facts

    async def urls(self, file: str, user: str = "bob") -> dict[str, str]:
        """Addresses of a file by variant; empty when the user may not read it."""
        found = (await self.files.links(user, AskLinks(files=[file]))).files
        names = {"original": "url", "small": "small", "large": "large"}
        return {
            variant: value
            for one in found
            for variant, name in names.items()
            if isinstance(value := getattr(one, name), str)
        }

    async def keys(self) -> list[str]:
        return sorted([info.key async for info in self.store.list()])


@contextlib.asynccontextmanager
async def local_flow(
    folder: Path, settings: FilesSettings | None = None, kind: type[LocalObjectStore] = LocalObjectStore
) -> AsyncIterator[Flow]:
    """Over a local folder, its links used over HTTP without a socket."""
    clock = ManualClock()
    place = Folder(folder)
    place.prepare(stale_before=0)
    store = kind(place, place.secret(), clock, public_url="http://store")
    web = httpx2.AsyncClient(transport=httpx2.ASGITransport(store.mount.app), timeout=30)
    async with contextlib.aclosing(store), web, service(clock, store, web, settings) as flow:
        yield flow


@contextlib.asynccontextmanager
async def service(
    clock: Clock, store: ObjectStore, web: httpx2.AsyncClient, settings: FilesSettings | None = None
) -> AsyncIterator[Flow]:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            open_application(Path(folder)) as application,
            open_files(store, application.database, application, clock, settings or FilesSettings()) as files,
        ):
            yield Flow(clock, store, application, files, web)
