"""What the local store's own HTTP adds to the contract."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest
from attrs import define
from chat_common.clock import ManualClock
from chat_common.settings import SetupError
from chat_oss.folder import Folder
from chat_oss.local import LocalObjectStore, LocalSettings, open_local
from starlette.applications import Starlette
from starlette.routing import Mount


@define
class Served:
    store: LocalObjectStore
    clock: ManualClock
    web: httpx2.AsyncClient

    async def get(self, key: str, **headers: str) -> httpx2.Response:
        link = self.store.download_link(key, seconds=60)
        return await self.web.get(link.url, headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    clock = ManualClock()
    folder = Folder(tmp_path)
    folder.prepare(stale_before=0)
    store = LocalObjectStore(folder, folder.secret(), clock)
    web = httpx2.AsyncClient(transport=httpx2.ASGITransport(store.mount.app), base_url="http://store")
    async with contextlib.aclosing(store), web:
        yield Served(store, clock, web)


async def test_head_tells_what_get_would_without_the_content(served: Served) -> None:
    await served.store.put("a", b"0123456789", type="text/plain")
    link = served.store.download_link("a", seconds=60, name="a.txt")
    get, head = await served.web.get(link.url), await served.web.head(link.url)
    assert head.content == b""
    assert dict(head.headers) == dict(get.headers)
    assert get.headers["cache-control"] == "private, max-age=60, immutable"
    assert get.headers["content-security-policy"].startswith("sandbox")
    assert get.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("header", "status", "body", "told"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=0-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=9-", 206, b"9", "bytes 9-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=5-4", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        (f"bytes={'9' * 5000}-", 200, b"0123456789", None),
        (f"bytes=0-{'9' * 5000}", 200, b"0123456789", None),
    ],
)
async def test_ranges(served: Served, header: str, status: int, body: bytes | None, told: str | None) -> None:
    await served.store.put("a", b"0123456789")
    answer = await served.get("a", Range=header)
    assert answer.status_code == status
    assert answer.headers.get("content-range") == told
    assert body is None or answer.content == body


async def test_a_head_has_no_range_and_a_unit_no_case(served: Served) -> None:
    await served.store.put("a", b"0123456789")
    link = served.store.download_link("a", seconds=60)
    head = await served.web.head(link.url, headers={"range": "bytes=0-3"})
    assert (head.status_code, head.headers["content-length"]) == (200, "10")
    assert (await served.get("a", Range="Bytes=0-3")).content == b"0123"


async def test_a_range_of_another_version_is_answered_in_full(served: Served) -> None:
    etag = (await served.store.put("a", b"0123456789")).etag
    assert (await served.get("a", Range="bytes=1-2", If_Range=f'"{etag}"')).content == b"12"
    assert (await served.get("a", Range="bytes=1-2", If_Range='"other"')).content == b"0123456789"
    assert (await served.get("a", If_None_Match=f'"x", "{etag}"')).status_code == 304


async def test_if_match_is_obeyed(served: Served) -> None:
    etag = (await served.store.put("a", b"0123456789")).etag
    for condition, status in (('"other"', 412), (f'"{etag}"', 200), (f'"other", "{etag}"', 200), ("*", 200)):
        assert (await served.get("a", If_Match=condition)).status_code == status


async def test_a_length_that_is_none_is_refused(served: Served) -> None:
    link = served.store.upload_link("a", size=1, type="text/plain", seconds=60)
    for length in ("\u00b2", "-1", "9" * 5000, "1e1", " "):
        headers = [*link.headers.items(), ("Content-Length", length.encode("latin-1"))]
        request = httpx2.Request("PUT", f"http://store/{link.url}", headers=headers, content=b"x")
        assert (await served.web.send(request)).status_code == 411, length


async def test_texts_are_said_to_be_in_utf_8_by_links_that_say_so(served: Served) -> None:
    for type, told in (("text/plain", "text/plain; charset=utf-8"), ("image/png", "image/png")):
        await served.store.put("a", "明天".encode(), type=type)
        assert (await served.get("a")).headers["content-type"] == type
        for named in (None, type):
            link = served.store.download_link("a", seconds=60, type=named, utf8=True)
            assert (await served.web.get(link.url)).headers["content-type"] == told


async def test_pages_of_other_origins_may_use_links(served: Served) -> None:
    link = served.store.upload_link("a", size=1, type="text/plain", seconds=60)
    asked = await served.web.options(link.url, headers={"Origin": "https://x", "Access-Control-Request-Method": "PUT"})
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "*"
    assert "PUT" in asked.headers["access-control-allow-methods"]
    assert (await served.web.delete(link.url)).status_code == 405


async def test_an_upload_that_ends_after_its_link_is_not_kept(served: Served) -> None:
    link = served.store.upload_link("a", size=10, type="text/plain", seconds=60)

    async def slow() -> AsyncIterator[bytes]:
        yield b"01234"
        served.clock.advance(60)
        yield b"56789"

    answer = await served.web.put(link.url, headers={**link.headers, "Content-Length": "10"}, content=slow())
    assert answer.status_code == 403
    assert [info async for info in served.store.list()] == []


async def test_a_client_that_goes_away_leaves_nothing(served: Served) -> None:
    link = served.store.upload_link("a", size=10, type="text/plain", seconds=60)
    path, _, query = link.url.partition("?")
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"01234", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-length", b"10"), (b"content-type", b"text/plain")]
    scope = {"type": "http", "method": "PUT", "path": f"/{path}", "query_string": query.encode(), "headers": headers}
    await served.store.mount.app(scope, receive, send)
    assert sent == []
    left = {path.name for path in served.store.folder.root.rglob("*") if path.is_file()}
    assert left == {"secret", "private"}


async def test_more_bytes_than_said_are_refused(served: Served) -> None:
    link = served.store.upload_link("a", size=3, type="text/plain", seconds=60)
    missing = await served.web.put(link.url, headers={**link.headers, "Transfer-Encoding": "chunked"}, content=chunks())
    assert missing.status_code == 411
    liar = await served.web.put(link.url, headers={**link.headers, "Content-Length": "3"}, content=chunks())
    assert liar.status_code == 403
    assert [info async for info in served.store.list()] == []


async def chunks() -> AsyncIterator[bytes]:
    yield b"12345"


async def test_a_link_of_one_kind_is_no_link_of_another(served: Served) -> None:
    await served.store.put("a", b"abc")
    get = served.store.download_link("a", seconds=60).url
    put = served.store.upload_link("a", size=3, type="text/plain", seconds=60).url
    assert (await served.web.put(get, content=b"xyz", headers={"Content-Type": "text/plain"})).status_code == 403
    assert (await served.web.get(put)).status_code == 403
    assert (await served.web.get("/objects/a?ticket=%ff&signature=ä")).status_code == 403
    assert (await served.web.get("/objects/a?ticket=e30&signature=00")).status_code == 403


async def test_links_may_name_another_address(tmp_path: Path) -> None:
    settings = LocalSettings(path=str(tmp_path), public_url="https://chat.example.org/below")
    async with open_local(settings, ManualClock()) as store:
        assert store.origin == "https://chat.example.org"
        assert store.download_link("a", seconds=1).url.startswith("https://chat.example.org/below/objects/a?")
    async with open_local(LocalSettings(path=str(tmp_path)), ManualClock()) as store:
        assert store.origin is None


@pytest.mark.parametrize("address", ["chat.example.org", "ftp://chat.example.org", "https:///below", "https://x/?a"])
async def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(SetupError, match=r"\[object_store.local\] public_url"):
        async with open_local(LocalSettings(path=str(tmp_path), public_url=address), ManualClock()):
            pass


async def test_relative_links_work_where_the_server_is_mounted(served: Served) -> None:
    await served.store.put("a/b", b"abc")
    inner = Starlette(routes=[Mount(served.store.mount.path, served.store.mount.app)])
    outer = Starlette(routes=[Mount("/chat", inner)])
    link = served.store.download_link("a/b", seconds=60)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(outer)) as web:
        assert (await web.get(urljoin("http://host/chat/", link.url))).content == b"abc"
        assert (await web.get(urljoin("http://host/", link.url))).status_code == 404
