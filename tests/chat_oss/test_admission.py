"""What the local store allows to those who do not hurry, to many at once, and to those without a ticket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from attrs import define, field
from chat_common.clock import ManualClock, SystemClock
from chat_common.ports.objects import Link
from chat_oss.admission import LINK_USES
from chat_oss.folder import Folder
from chat_oss.local import LocalObjectStore, LocalSettings, open_local

from tests.services.asgi import serving
from tests.support.waiting import until

STALL = 1000.0
SHORT = 900.0
"""Not yet: the rest is more than a slow machine takes for what the test does meanwhile."""


@define
class Sender:
    """One request whose body comes when the test says so."""

    store: LocalObjectStore
    method: str
    url: str
    headers: Mapping[str, str]
    pieces: asyncio.Queue[bytes | None] = field(factory=asyncio.Queue)
    answers: list[Any] = field(factory=list)
    task: asyncio.Task[None] | None = None

    async def _receive(self) -> dict[str, Any]:
        piece = await self.pieces.get()
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def _send(self, message: Any) -> None:
        self.answers.append(message)

    def start(self) -> Sender:
        path, _, query = self.url.partition("?")
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        scope = {
            "type": "http",
            "method": self.method,
            "path": f"/{path}",
            "query_string": query.encode(),
            "headers": headers,
        }
        self.task = asyncio.ensure_future(self.store.mount.app(scope, self._receive, self._send))
        return self

    async def write(self, data: bytes) -> None:
        """Returns when the store waits for more, or has answered."""
        self.pieces.put_nowait(data)
        await until(lambda: self.pieces.empty() and (self.over or self._waits()))

    def _waits(self) -> bool:
        return bool(self.pieces._getters)  # type: ignore[attr-defined]

    @property
    def over(self) -> bool:
        return self.task is not None and self.task.done()

    async def status(self) -> int:
        assert self.task is not None
        await until(lambda: self.over)
        self.task.result()
        return int(self.answers[0]["status"])

    def header(self, name: str) -> str:
        return dict(self.answers[0]["headers"])[name.encode()].decode()  # type: ignore[no-any-return]

    @property
    def text(self) -> str:
        return str(self.answers[-1]["body"].decode())


@define
class Held:
    """The event loop's time, moved on by the test."""

    ahead: float = 0.0

    def pass_by(self, seconds: float) -> None:
        self.ahead += seconds
        asyncio.get_running_loop().call_soon(lambda: None)  # a loop that sleeps would not see it


@define
class Place:
    store: LocalObjectStore
    clock: ManualClock

    def put(self, key: str = "a", size: int = 6, link: Link | None = None) -> Sender:
        link = link or self.store.upload_link(key, size=size, type="text/plain", seconds=3600)
        return Sender(self.store, "PUT", link.url, {**link.headers, "Content-Length": str(size)}).start()

    def drafts(self) -> int:
        return len(list((self.store.folder.root / "tmp").iterdir()))

    async def keys(self) -> list[str]:
        return [info.key async for info in self.store.list()]


@contextlib.asynccontextmanager
async def opened(path: Path, **more: Any) -> AsyncIterator[Place]:
    clock = ManualClock()
    folder = Folder(path)
    folder.prepare(stale_before=0)
    store = LocalObjectStore(folder, folder.secret(), clock, **more)
    async with contextlib.aclosing(store):
        yield Place(store, clock)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with opened(tmp_path, uploads=3, stall=STALL) as place:
        yield place


@pytest.fixture
async def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    loop = asyncio.get_running_loop()
    held, time = Held(), loop.time
    monkeypatch.setattr(loop, "time", lambda: time() + held.ahead)
    return held


async def test_a_body_that_stalls_is_cut_and_leaves_nothing(place: Place, held: Held) -> None:
    sender = place.put()
    await sender.write(b"123")
    held.pass_by(SHORT)
    await sender.write(b"")  # no byte, though a message
    assert place.drafts() == 1
    held.pass_by(STALL - SHORT)
    assert await sender.status() == 408
    assert "1000 seconds" in sender.text
    assert sender.header("connection") == "close"
    assert place.drafts() == 0
    assert await place.keys() == []


async def test_a_slow_body_that_goes_on_is_taken(place: Place, held: Held) -> None:
    sender = place.put()
    for piece in (b"1", b"2", b"3", b"4", b"5", b"6"):
        held.pass_by(SHORT)
        await sender.write(piece)
    sender.pieces.put_nowait(None)
    assert await sender.status() == 200
    assert await place.keys() == ["a"]


async def test_an_upload_is_cut_at_the_first_byte_after_its_link(place: Place) -> None:
    sender = place.put()
    await sender.write(b"123")
    place.clock.advance(3600)
    await sender.write(b"4")
    assert await sender.status() == 403
    assert place.drafts() == 0


async def test_one_more_than_so_many_uploads_is_told_when_to_come_again(place: Place) -> None:
    senders = [place.put(key) for key in "abc"]
    for sender in senders:
        await sender.write(b"123")
    for sender in (place.put("d"), place.put("e")):
        assert await sender.status() == 503
        assert int(sender.header("retry-after")) == 5
        assert "3 uploads" in sender.text
    assert place.drafts() == 3
    senders[0].pieces.put_nowait(b"456")
    senders[0].pieces.put_nowait(None)
    assert await senders[0].status() == 200
    again = place.put("d")
    await again.write(b"123456")
    again.pieces.put_nowait(None)
    assert await again.status() == 200
    for sender in senders[1:]:
        place.clock.advance(3600)
        sender.pieces.put_nowait(b"4")  # too late; its place is free all the same
        assert await sender.status() == 403
    for _ in range(2):
        assert place.drafts() == 0
        last = place.put("e")
        await last.write(b"123456")
        last.pieces.put_nowait(None)
        assert await last.status() == 200


async def test_of_uses_of_one_link_at_once_the_last_to_end_stays(place: Place) -> None:
    link = place.store.upload_link("a", size=6, type="text/plain", seconds=3600)
    first, second = place.put(link=link), place.put(link=link)
    await first.write(b"firs")
    await second.write(b"second")
    third = place.put(link=link)
    assert await third.status() == 429
    assert LINK_USES == 2
    assert int(third.header("retry-after")) == STALL
    second.pieces.put_nowait(None)
    assert await second.status() == 200
    await first.write(b"t!")
    first.pieces.put_nowait(None)
    assert await first.status() == 200
    async with place.store.get("a") as pieces:
        assert b"".join([piece async for piece in pieces]) == b"first!"


async def test_links_to_one_part_count_as_one(place: Place) -> None:
    upload = await place.store.begin_parts("a", type="text/plain")
    links = [place.store.part_link("a", upload, 1, size=6, seconds=60 + more) for more in range(3)]
    senders = [place.put(link=link) for link in links]
    for sender in senders[:2]:
        await sender.write(b"1")
    assert await senders[2].status() == 429
    other = place.put(link=place.store.part_link("a", upload, 2, size=6, seconds=60))
    await other.write(b"123456")
    other.pieces.put_nowait(None)
    assert await other.status() == 200
    for sender in senders[:2]:
        await sender.write(b"23456")
        sender.pieces.put_nowait(None)
        assert await sender.status() == 200


async def test_a_hanging_client_is_cut_by_a_real_server(tmp_path: Path) -> None:
    with serving() as server:
        settings = LocalSettings(path=str(tmp_path), public_url=server.origin, stall=0.2)
        async with open_local(settings, SystemClock()) as store, server.run(store.mount.app):
            link = store.upload_link("a", size=6, type="text/plain", seconds=60)
            reader, writer = await asyncio.open_connection(*server.socket.getsockname()[:2])
            target = link.url.removeprefix(server.origin)
            head = f"PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\n123"
            with contextlib.closing(writer):
                writer.write(head.encode())
                answer = await asyncio.wait_for(reader.read(), 15)  # to the end: the connection is closed too
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"Nothing came for 0.2 seconds" in answer
            assert list((tmp_path / "tmp").iterdir()) == []
            async with httpx2.AsyncClient() as web:
                assert (await web.put(link.url, headers=link.headers, content=b"123456")).status_code == 200
