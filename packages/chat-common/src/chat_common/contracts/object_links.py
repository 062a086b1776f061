"""The checks of `chat_common.contracts.objects` that use links, and parts, which come through links."""

from __future__ import annotations

import secrets
import tarfile
from collections.abc import Callable
from io import BytesIO
from urllib.parse import unquote, urlsplit

from attrs import evolve

from chat_common.contracts.object_harness import TEXT, Headers, ObjectHarness, cleaned, complaint, raises, refused
from chat_common.errors import Invalid, NotFound
from chat_common.ports.objects import PART_MIN, Part


async def check_upload_link(harness: ObjectHarness) -> None:
    """A PUT as signed is stored with its type; the link may be used again."""
    async with cleaned(harness):
        key = harness.key("put")
        link = harness.store.upload_link(key, size=5, type=TEXT, seconds=60)
        answer = await harness.use(link, b"hello")
        assert answer.status == 200, answer
        info = await harness.store.stat(key)
        assert (info.size, info.type) == (5, TEXT)
        assert (await harness.use(link, b"again")).status == 200
        assert await harness.read(key) == b"again"


async def check_upload_link_refused(harness: ObjectHarness) -> None:
    """Another size, type, key or method, a changed or late link: refused, and nothing is stored."""
    async with cleaned(harness):
        key = harness.key("never")
        link = harness.store.upload_link(key, size=5, type=TEXT, seconds=60)
        for answer in (
            await harness.use(link, b"longer than five"),
            await harness.use(link, b"four"),
            await harness.use(link, b""),
            await harness.use(link, b"hello", {"Content-Type": "text/html"}),
            await harness.use(evolve(link, url=link.url.replace("/never?", "/other?")), b"hello"),
            await harness.use(evolve(link, url=_tampered(link.url)), b"hello"),
            await harness.use(evolve(link, url=link.url.split("?")[0]), b"hello"),
            await harness.use(evolve(link, method="GET"), b""),
            await harness.use(harness.past.upload_link(key, size=5, type=TEXT, seconds=60), b"hello"),
        ):
            refused(answer)
        assert await harness.listed(harness.folder) == []


async def check_upload_link_touches_nothing_else(harness: ObjectHarness) -> None:
    """Whatever headers are added to it, an upload link reads and writes no object but its own."""
    async with cleaned(harness):
        victim = harness.key("victim")
        await harness.store.put(victim, b"treasure", type=TEXT)
        address = unquote(urlsplit(harness.store.download_link(victim, seconds=60).url).path)
        content = _archive(victim, b"replaced")
        for number, added in enumerate(_abuses(address)):
            key = harness.key(f"own-{number}")
            link = harness.store.upload_link(key, size=len(content), type=TEXT, seconds=60)
            answer = await harness.fetch("PUT", link.url, [*link.headers.items(), *added], content)
            assert b"treasure" not in answer.body
            if [info for info in await harness.listed(key) if info.key == key]:
                assert await harness.read(key) == content, f"another content came by {added}"
            upload = await harness.store.begin_parts(key, type=TEXT)
            link = harness.store.part_link(key, upload, 1, size=len(content), seconds=60)
            await harness.fetch("PUT", link.url, [*link.headers.items(), *added], content)
            if parts := await harness.store.parts(key, upload):
                await harness.store.complete_parts(key, upload, parts)
                assert await harness.read(key) == content, f"another content came into a part by {added}"
            else:
                await harness.store.abort_parts(key)
            assert await harness.read(victim) == b"treasure", f"another object was written by {added}"


async def check_copy_leaves_behind_what_the_writer_said(harness: ObjectHarness) -> None:
    """How a client wanted its upload to be served does not go along with a copy."""
    async with cleaned(harness):
        source, target = harness.key("source"), harness.key("target")
        link = harness.store.upload_link(source, size=4, type=TEXT, seconds=60)
        said = {"Content-Encoding": "gzip", "Cache-Control": "max-age=9", "Content-Language": "tlh", "Expires": "0"}
        if (await harness.use(link, b"text", said)).status >= 400:
            assert (await harness.use(link, b"text")).status == 200
        await harness.store.copy(source, target, type=TEXT, size=4)
        answer = await harness.use(harness.store.download_link(target, seconds=60))
        assert answer.body == b"text"
        kept = {
            name: answer.headers[name] for name in ("content-encoding", "content-language") if name in answer.headers
        }
        assert kept == {}
        assert answer.headers.get("cache-control") != "max-age=9"


def _abuses(address: str) -> list[Headers]:
    copy, unpack = "x-amz-copy-source", "x-amz-meta-snowball-auto-extract"
    return [
        [(copy, address)],
        [(copy, address.lstrip("/"))],
        [(copy, address.lstrip("/").replace("/", "%2F"))],
        [(copy, address), ("x-amz-copy-source-range", "bytes=0-7")],
        [(copy, address), ("x-amz-metadata-directive", "REPLACE")],
        [(copy, ""), (copy, address)],
        [(copy, address), (copy, "")],
        [(unpack, "true")],
        [(unpack, ""), (unpack, "true")],
        [(unpack, "true"), (unpack, "")],
    ]


def _archive(name: str, content: bytes) -> bytes:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, BytesIO(content))
    return out.getvalue()


async def check_download_link(harness: ObjectHarness) -> None:
    """The content, whole and in ranges, with a file name in any language, as download or in place."""
    async with cleaned(harness):
        key = harness.key("report")
        await harness.store.put(key, b"0123456789", type="application/pdf")
        link = harness.store.download_link(key, seconds=60, name='报告 "1".pdf')
        answer = await harness.use(link)
        assert (answer.status, answer.body) == (200, b"0123456789")
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.headers["content-length"] == "10"
        disposition = answer.headers["content-disposition"]
        assert disposition.startswith("attachment;")
        assert "filename*=UTF-8''%E6%8A%A5%E5%91%8A%20%221%22.pdf" in disposition
        part = await harness.use(link, headers={"Range": "bytes=2-4"})
        assert (part.status, part.body, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
        assert (await harness.use(link, headers={"Range": "bytes=-3"})).body == b"789"
        assert (await harness.use(link, headers={"Range": "bytes=7-"})).body == b"789"
        assert (await harness.use(link, headers={"Range": "bytes=10-"})).status == 416
        etag = answer.headers["etag"]
        assert (await harness.use(link, headers={"If-None-Match": etag})).status == 304
        shown = await harness.use(harness.store.download_link(key, seconds=60, type="image/png", inline=True))
        assert shown.headers["content-type"] == "image/png"
        assert shown.headers["content-disposition"].startswith("inline")
        text = await harness.use(harness.store.download_link(key, seconds=60, type=TEXT, utf8=True))
        assert text.headers["content-type"].lower() == "text/plain; charset=utf-8"
        unknown = await harness.use(harness.store.download_link(key, seconds=60, type=TEXT))
        assert unknown.headers["content-type"].lower() == "text/plain"


async def check_download_link_refused(harness: ObjectHarness) -> None:
    """No link, a changed, late or foreign one gives nothing; an absent object is 404."""
    async with cleaned(harness):
        key = harness.key("secret")
        await harness.store.put(key, b"treasure")
        await harness.store.put(harness.key("other"), b"treasure")
        link = harness.store.download_link(key, seconds=60, name="a")
        for url in (
            link.url.split("?")[0],
            _tampered(link.url),
            link.url.replace("/secret?", "/other?"),
            harness.past.download_link(key, seconds=60).url,
        ):
            answer = await harness.fetch("GET", url, [], b"")
            refused(answer)
            assert b"treasure" not in answer.body
        refused(await harness.fetch("PUT", link.url, [], b"x"))
        assert await harness.read(key) == b"treasure"
        gone = await harness.use(harness.store.download_link(harness.key("never"), seconds=60))
        assert gone.status == 404


async def check_parts(harness: ObjectHarness) -> None:
    """Parts come in any order and again; the content appears whole, and only when completed."""
    async with cleaned(harness):
        key = harness.key("large")
        pieces = {1: secrets.token_bytes(PART_MIN), 2: secrets.token_bytes(PART_MIN + 1), 3: b"end"}
        upload = await harness.store.begin_parts(key, type="video/mp4")
        assert await harness.store.parts(key, upload) == []
        etags: dict[int, str] = {}
        sent = [(3, b"END"), (1, secrets.token_bytes(PART_MIN)), (3, b"end"), (2, pieces[2]), (1, pieces[1])]
        for number, content in sent:
            link = harness.store.part_link(key, upload, number, size=len(content), seconds=60)
            answer = await harness.use(link, content)
            assert answer.status == 200, answer
            etags[number] = answer.headers["etag"].strip('"')
        await harness.absent(key)
        found = await harness.store.parts(key, upload)
        assert [(part.number, part.size) for part in found] == [(n, len(pieces[n])) for n in (1, 2, 3)]
        chosen = [Part(part.number, part.size, etags[part.number]) for part in reversed(found)]
        info = await harness.store.complete_parts(key, upload, chosen)
        assert (info.size, info.type) == (sum(map(len, pieces.values())), "video/mp4")
        assert await harness.read(key) == pieces[1] + pieces[2] + pieces[3]
        await raises(NotFound, harness.store.parts(key, upload))


async def check_parts_refused(harness: ObjectHarness) -> None:
    """Parts of another size, under a late link, of no upload; contents of absent or too small parts: refused."""
    async with cleaned(harness):
        key = harness.key("never")
        upload = await harness.store.begin_parts(key, type=TEXT)
        link = harness.store.part_link(key, upload, 1, size=4, seconds=60)
        refused(await harness.use(link, b"longer"))
        refused(await harness.use(link, b"s"))
        refused(await harness.use(harness.past.part_link(key, upload, 1, size=4, seconds=60), b"four"))
        foreign = harness.store.part_link(key, secrets.token_hex(16), 1, size=4, seconds=60)
        refused(await harness.use(foreign, b"four"))
        assert await harness.store.parts(key, upload) == []
        assert (await harness.use(link, b"four")).status == 200
        second = harness.store.part_link(key, upload, 2, size=4, seconds=60)
        assert (await harness.use(second, b"more")).status == 200
        parts = list(await harness.store.parts(key, upload))
        await raises(Invalid, harness.store.complete_parts(key, upload, []))
        await raises(Invalid, harness.store.complete_parts(key, upload, [*parts, Part(3, 4, parts[0].etag)]))
        await raises(Invalid, harness.store.complete_parts(key, upload, [Part(1, 4, "0" * 32), parts[1]]))
        await raises(Invalid, harness.store.complete_parts(key, upload, parts))  # the first is below 5 MiB
        await harness.absent(key)
        await harness.store.abort_parts(key)


async def check_parts_aborted(harness: ObjectHarness) -> None:
    """Aborting forgets every unfinished upload of a key, may be repeated, and leaves the content that was there."""
    async with cleaned(harness):
        key = harness.key("kept")
        await harness.store.put(key, b"former")
        uploads = [await harness.store.begin_parts(key, type=TEXT) for _ in range(2)]
        link = harness.store.part_link(key, uploads[0], 1, size=4, seconds=60)
        assert (await harness.use(link, b"four")).status == 200
        for _ in range(2):
            await harness.store.abort_parts(key)
        for upload in uploads:
            await raises(NotFound, harness.store.parts(key, upload))
        refused(await harness.use(link, b"four"))
        assert await harness.read(key) == b"former"


async def check_link_arguments(harness: ObjectHarness) -> None:
    """Times, sizes, numbers and types out of range are `Invalid`, naming the field."""
    store = harness.store
    wrong: list[tuple[str, Callable[[], object]]] = [
        ("seconds", lambda: store.download_link("a", seconds=0)),
        ("seconds", lambda: store.download_link("a", seconds=604_801)),
        ("seconds", lambda: store.upload_link("a", size=1, type=TEXT, seconds=-1)),
        ("size", lambda: store.upload_link("a", size=-1, type=TEXT, seconds=1)),
        ("type", lambda: store.upload_link("a", size=1, type="text", seconds=1)),
        ("type", lambda: store.upload_link("a", size=1, type="text/plain\r\nx: y", seconds=1)),
        ("number", lambda: store.part_link("a", "u", 0, size=1, seconds=1)),
        ("number", lambda: store.part_link("a", "u", 10_001, size=1, seconds=1)),
    ]
    for name, make in wrong:
        assert complaint(make) == name


def _tampered(url: str) -> str:
    last = url[-1]
    return url[:-1] + ("0" if last != "0" else "1")
