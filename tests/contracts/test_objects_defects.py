"""The checks find stores that do less than they should."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from pathlib import Path

import httpx2
import pytest
from chat_common.clock import Clock, SystemClock
from chat_common.contracts import objects as contract
from chat_common.contracts.object_harness import Answer, ObjectHarness
from chat_common.ports.objects import Link, ObjectInfo, Part
from chat_oss.folder import Folder
from chat_oss.local import LocalObjectStore

from tests.contracts.test_objects import an_hour_ago


class _Forgetful(LocalObjectStore):
    """Keeps no types."""

    async def put(
        self, key: str, data: bytes | AsyncIterable[bytes], *, type: str = "application/octet-stream"
    ) -> ObjectInfo:
        return await super().put(key, data)


class _AnySize(LocalObjectStore):
    """Its links take another size than was said."""

    def upload_link(self, key: str, *, size: int, type: str, seconds: int) -> Link:
        return super().upload_link(key, size=size + 1, type=type, seconds=seconds)


class _Eternal(LocalObjectStore):
    """Its links never end."""

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
        return super().download_link(key, seconds=max(seconds, 86_400), name=name, type=type, inline=inline, utf8=utf8)


class _HalfVisible(LocalObjectStore):
    """Shows a streamed content before it is whole."""

    async def put(
        self, key: str, data: bytes | AsyncIterable[bytes], *, type: str = "application/octet-stream"
    ) -> ObjectInfo:
        if not isinstance(data, bytes):
            await super().put(key, b"")
        return await super().put(key, data, type=type)


class _WrongOrder(LocalObjectStore):
    """Joins parts as they were named, whatever their numbers."""

    async def complete_parts(self, key: str, upload: str, parts: Sequence[Part]) -> ObjectInfo:
        info = await super().complete_parts(key, upload, parts)
        async with self.get(key) as chunks:
            whole = b"".join([chunk async for chunk in chunks])
        await self.put(key, whole[::-1], type=info.type)
        return info


DEFECTS = {
    _Forgetful: "check_put_get_stat",
    _AnySize: "check_upload_link",
    _Eternal: "check_download_link_refused",
    _HalfVisible: "check_streams",
    _WrongOrder: "check_parts",
}


@contextlib.asynccontextmanager
async def opened(kind: type[LocalObjectStore], folder: Path) -> AsyncIterator[ObjectHarness]:
    place = Folder(folder)
    place.prepare(stale_before=0)

    def made(clock: Clock) -> LocalObjectStore:
        return kind(place, place.secret(), clock, public_url="http://store")

    store, past = made(SystemClock()), made(an_hour_ago())
    web = httpx2.AsyncClient(transport=httpx2.ASGITransport(store.mount.app))
    async with contextlib.aclosing(store), contextlib.aclosing(past), web:

        async def fetch(method: str, url: str, headers: object, body: bytes) -> Answer:
            answer = await web.request(method, url, headers=headers, content=body)  # type: ignore[arg-type]
            return Answer(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content)

        yield ObjectHarness(store, past, fetch)


@pytest.mark.parametrize("kind", DEFECTS, ids=lambda kind: kind.__name__)
async def test_a_defect_is_found_by_its_check(kind: type[LocalObjectStore], tmp_path: Path) -> None:
    check = next(check for check in contract.checks() if check.__name__ == DEFECTS[kind])
    async with opened(LocalObjectStore, tmp_path / "sound") as harness:
        await check(harness)
    async with opened(kind, tmp_path / "defect") as harness:
        with pytest.raises(AssertionError):
            await check(harness)
