"""What every `ObjectStore` must do, as checks that any implementer can run.

::

    @pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
    async def test_my_store(check):
        async with my_store() as store, my_store(clock=an_hour_ago) as past:
            await check(ObjectHarness(store, past, fetch))

Each check works under keys of its own and leaves nothing behind. A check fails by `AssertionError`.
"""

from __future__ import annotations

import secrets
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from urllib.parse import unquote, urlsplit

from attrs import evolve, field, frozen

from chat_common.errors import Invalid, NotFound
from chat_common.ports.objects import PART_MIN, Form, Link, ObjectInfo, ObjectStore, Part

TEXT = "text/plain"


@frozen
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Headers = Sequence[tuple[str, str]]
Fetch = Callable[[str, str, Headers, bytes], Awaitable[Answer]]
"""``fetch(method, url, headers, body)``: a plain HTTP request, as a client would make it; a name may come twice."""


@frozen
class ObjectHarness:
    """A store to check; ``past`` is the same one, made with a clock an hour behind: its short links are over."""

    store: ObjectStore
    past: ObjectStore
    fetch: Fetch
    folder: str = field(factory=lambda: f"contract/{secrets.token_hex(8)}")

    def key(self, name: str) -> str:
        return f"{self.folder}/{name}"

    async def use(self, link: Link, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        return await self.fetch(link.method, link.url, [*{**link.headers, **(headers or {})}.items()], body)

    async def post(self, form: Form, content: bytes) -> Answer:
        boundary = secrets.token_hex(16)
        lines = []
        for name, value in form.fields.items():
            lines.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        body = b"".join([*lines, head.encode(), content, f"\r\n--{boundary}--\r\n".encode()])
        kind = f"multipart/form-data; boundary={boundary}"
        return await self.fetch("POST", form.url, [("Content-Type", kind)], body)

    async def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        async with self.store.get(key, start=start, length=length) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def listed(self, prefix: str) -> list[ObjectInfo]:
        return [info async for info in self.store.list(prefix)]

    async def absent(self, key: str) -> None:
        """Nothing is there, by any way of asking."""
        await _raises(NotFound, self.store.stat(key))
        await _raises(NotFound, self.read(key))
        assert [info for info in await self.listed(key) if info.key == key] == []


async def _raises(kind: type[Exception], doing: Awaitable[object]) -> None:
    try:
        await doing
    except kind:
        return
    raise AssertionError(f"{kind.__name__} expected")


def _complaint(make: Callable[[], object]) -> str | None:
    """The field that `Invalid` names; None when nothing is raised."""
    try:
        make()
    except Invalid as error:
        return error.field
    return None


def _refused(answer: Answer) -> None:
    assert 400 <= answer.status < 500, f"a refusal expected, not {answer.status}: {answer.body[:300]!r}"


@asynccontextmanager
async def _cleaned(harness: ObjectHarness) -> AsyncIterator[None]:
    yield
    await harness.store.delete([info.key for info in await harness.listed(harness.folder)])
    assert await harness.listed(harness.folder) == []


async def check_put_get_stat(harness: ObjectHarness) -> None:
    """What was put is got and described; the last writer wins; etags tell contents apart."""
    async with _cleaned(harness):
        key = harness.key("a/b.txt")
        await harness.absent(key)
        first = await harness.store.put(key, b"hello", type=TEXT)
        assert await harness.read(key) == b"hello"
        info = await harness.store.stat(key)
        assert (info.key, info.size, info.type, info.etag) == (key, 5, TEXT, first.etag)
        assert 1_600_000_000_000 < info.modified < 4_000_000_000_000
        await harness.store.put(key, b"other", type="text/html")
        again = await harness.store.stat(key)
        assert again.etag != info.etag
        assert again.type == "text/html"
        assert await harness.read(key) == b"other"


async def check_empty_content(harness: ObjectHarness) -> None:
    """Nothing is a content too."""
    async with _cleaned(harness):
        key = harness.key("empty")
        await harness.store.put(key, b"")
        assert (await harness.store.stat(key)).size == 0
        assert await harness.read(key) == b""


async def check_streams(harness: ObjectHarness) -> None:
    """Contents go in and out in pieces; a source that fails stores nothing and leaves the former content."""
    async with _cleaned(harness):
        piece = secrets.token_bytes(700_001)

        async def source(fail: bool) -> AsyncIterator[bytes]:
            for _ in range(30):
                yield piece
            if fail:
                raise ZeroDivisionError

        key = harness.key("stream")
        assert (await harness.store.put(key, source(fail=False))).size == 30 * len(piece)
        async with harness.store.get(key) as chunks:
            sizes, total = [], b""
            async for chunk in chunks:
                sizes.append(len(chunk))
                total += chunk
        assert total == piece * 30
        assert max(sizes) <= 1024 * 1024
        other = harness.key("failed")
        await _raises(ZeroDivisionError, harness.store.put(other, source(fail=True)))
        await harness.absent(other)
        await _raises(ZeroDivisionError, harness.store.put(key, source(fail=True)))
        assert (await harness.store.stat(key)).size == 30 * len(piece)


async def check_ranges(harness: ObjectHarness) -> None:
    """A stretch of a content, by start and length; beyond the end there is nothing."""
    async with _cleaned(harness):
        key = harness.key("digits")
        await harness.store.put(key, b"0123456789")
        assert await harness.read(key, start=3) == b"3456789"
        assert await harness.read(key, start=3, length=4) == b"3456"
        assert await harness.read(key, start=8, length=100) == b"89"
        assert await harness.read(key, start=10) == b""
        assert await harness.read(key, start=100, length=5) == b""
        assert await harness.read(key, length=0) == b""
        await _raises(Invalid, harness.read(key, start=-1))


async def check_copy(harness: ObjectHarness) -> None:
    """Content and type under another key, independent of the first."""
    async with _cleaned(harness):
        source, target = harness.key("source"), harness.key("folder/target")
        await harness.store.put(source, b"same", type=TEXT)
        await harness.store.copy(source, target)
        info = await harness.store.stat(target)
        assert (info.key, info.size, info.type) == (target, 4, TEXT)
        await harness.store.copy(source, target)
        await harness.store.copy(target, target)
        assert await harness.read(target) == b"same"
        await harness.store.put(source, b"changed")
        await harness.store.delete([source])
        assert await harness.read(target) == b"same"
        await harness.store.copy(target, source, type="text/csv", size=4)
        assert (await harness.store.stat(source)).type == "text/csv"
        assert await harness.read(source) == b"same"
        never = harness.key("never")
        await _raises(NotFound, harness.store.copy(never, target))
        await _raises(NotFound, harness.store.copy(never, target, type=TEXT, size=4))
        await _raises(NotFound, harness.store.copy(never, never))
        assert await harness.read(target) == b"same"


async def check_delete(harness: ObjectHarness) -> None:
    """Gone at once; absent keys are fine; neighbours stay."""
    async with _cleaned(harness):
        keys = [harness.key(name) for name in ("one", "one-more", "one/below")]
        for key in keys:
            await harness.store.put(key, b"x")
        await harness.store.delete([keys[0], harness.key("never")])
        await harness.absent(keys[0])
        assert await harness.read(keys[1]) == b"x"
        assert await harness.read(keys[2]) == b"x"
        await harness.store.delete([keys[0]])
        await harness.store.delete([])


async def check_list(harness: ObjectHarness) -> None:
    """All keys of a prefix and no others, each once."""
    async with _cleaned(harness):
        names = ["a", "a-b/x", "a.b", "a0", "b/1", "b/10", "b/2", "b/c/d", "c"]
        for name in names:
            await harness.store.put(harness.key(name), name.encode())
        found = sorted(await harness.listed(harness.key("")), key=lambda info: info.key)
        assert [info.key for info in found] == sorted(harness.key(name) for name in names)
        assert [info.size for info in found] == [len(name) for name in sorted(names)]
        for prefix in ("a", "a-b/", "a/", "b", "b/", "b/1", "none"):
            expected = sorted(harness.key(name) for name in names if name.startswith(prefix))
            assert sorted(info.key for info in await harness.listed(harness.key(prefix))) == expected


async def check_keys(harness: ObjectHarness) -> None:
    """What is no key is refused before anything happens: no way out of the store by a name."""
    bad = [
        "",
        "/",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/./b",
        "a//b",
        "a/",
        "a\\b",
        "a b",
        "ä",
        "a\0b",
        "..",
        "a" * 513,
    ]
    for key in [*bad, "a\n"]:
        await _raises(Invalid, harness.store.put(key, b"x"))
        await _raises(Invalid, harness.store.stat(key))
        await _raises(Invalid, harness.store.copy(key, "contract/x"))
        await _raises(Invalid, harness.store.copy("contract/x", key))
        await _raises(Invalid, harness.store.delete([key]))
        for make in (
            lambda key=key: harness.store.upload_link(key, size=1, type=TEXT, seconds=60),
            lambda key=key: harness.store.upload_form(key, least=0, most=1, type=TEXT, seconds=60),
            lambda key=key: harness.store.download_link(key, seconds=60),
            lambda key=key: harness.store.part_link(key, "upload", 1, size=1, seconds=60),
        ):
            assert _complaint(make) == "key", f"a link to {key!r} was made"


async def check_upload_link(harness: ObjectHarness) -> None:
    """A PUT as signed is stored with its type; the link may be used again."""
    async with _cleaned(harness):
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
    async with _cleaned(harness):
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
            _refused(answer)
        assert await harness.listed(harness.folder) == []


async def check_upload_link_touches_nothing_else(harness: ObjectHarness) -> None:
    """Whatever headers are added to it, an upload link reads and writes no object but its own."""
    async with _cleaned(harness):
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
    async with _cleaned(harness):
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


async def check_upload_form(harness: ObjectHarness) -> None:
    """A form takes any size within its range, the bounds included."""
    async with _cleaned(harness):
        key = harness.key("form")
        form = harness.store.upload_form(key, least=3, most=300_000, type=TEXT, seconds=60)
        for content in (b"abc", b"\r\n--x\r\n" * 100, secrets.token_bytes(300_000)):
            answer = await harness.post(form, content)
            assert answer.status in (200, 201, 204), answer
            assert await harness.read(key) == content
            assert (await harness.store.stat(key)).type == TEXT


async def check_upload_form_refused(harness: ObjectHarness) -> None:
    """Too small, too large, other fields, a changed or late policy: refused, and nothing is stored."""
    async with _cleaned(harness):
        form = harness.store.upload_form(harness.key("never"), least=3, most=1_000, type=TEXT, seconds=60)
        late = harness.past.upload_form(harness.key("never"), least=3, most=1_000, type=TEXT, seconds=60)
        wrong = [
            (form, b"ab"),
            (form, b"x" * 1_001),
            (form, b"x" * 200_000),
            (evolve(form, fields={**form.fields, "key": harness.key("other")}), b"abc"),
            (evolve(form, fields={**form.fields, "Content-Type": "text/html"}), b"abc"),
            (evolve(form, fields={name: _tampered(value) for name, value in form.fields.items()}), b"abc"),
            (evolve(form, fields={"key": harness.key("never"), "Content-Type": TEXT}), b"abc"),
            (late, b"abc"),
        ]
        for attempt, content in wrong:
            _refused(await harness.post(attempt, content))
        assert await harness.listed(harness.folder) == []


async def check_download_link(harness: ObjectHarness) -> None:
    """The content, whole and in ranges, with a file name in any language, as download or in place."""
    async with _cleaned(harness):
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
        text = await harness.use(harness.store.download_link(key, seconds=60, type=TEXT))
        assert text.headers["content-type"].lower() == "text/plain; charset=utf-8"


async def check_download_link_refused(harness: ObjectHarness) -> None:
    """No link, a changed, late or foreign one gives nothing; an absent object is 404."""
    async with _cleaned(harness):
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
            _refused(answer)
            assert b"treasure" not in answer.body
        _refused(await harness.fetch("PUT", link.url, [], b"x"))
        assert await harness.read(key) == b"treasure"
        gone = await harness.use(harness.store.download_link(harness.key("never"), seconds=60))
        assert gone.status == 404


async def check_parts(harness: ObjectHarness) -> None:
    """Parts come in any order and again; the content appears whole, and only when completed."""
    async with _cleaned(harness):
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
        await _raises(NotFound, harness.store.parts(key, upload))


async def check_parts_refused(harness: ObjectHarness) -> None:
    """Parts of another size, under a late link, of no upload; contents of absent or too small parts: refused."""
    async with _cleaned(harness):
        key = harness.key("never")
        upload = await harness.store.begin_parts(key, type=TEXT)
        link = harness.store.part_link(key, upload, 1, size=4, seconds=60)
        _refused(await harness.use(link, b"longer"))
        _refused(await harness.use(link, b"s"))
        _refused(await harness.use(harness.past.part_link(key, upload, 1, size=4, seconds=60), b"four"))
        foreign = harness.store.part_link(key, secrets.token_hex(16), 1, size=4, seconds=60)
        _refused(await harness.use(foreign, b"four"))
        assert await harness.store.parts(key, upload) == []
        assert (await harness.use(link, b"four")).status == 200
        second = harness.store.part_link(key, upload, 2, size=4, seconds=60)
        assert (await harness.use(second, b"more")).status == 200
        parts = list(await harness.store.parts(key, upload))
        await _raises(Invalid, harness.store.complete_parts(key, upload, []))
        await _raises(Invalid, harness.store.complete_parts(key, upload, [*parts, Part(3, 4, parts[0].etag)]))
        await _raises(Invalid, harness.store.complete_parts(key, upload, [Part(1, 4, "0" * 32), parts[1]]))
        await _raises(Invalid, harness.store.complete_parts(key, upload, parts))  # the first is below 5 MiB
        await harness.absent(key)
        await harness.store.abort_parts(key)


async def check_parts_aborted(harness: ObjectHarness) -> None:
    """Aborting forgets every unfinished upload of a key, may be repeated, and leaves the content that was there."""
    async with _cleaned(harness):
        key = harness.key("kept")
        await harness.store.put(key, b"former")
        uploads = [await harness.store.begin_parts(key, type=TEXT) for _ in range(2)]
        link = harness.store.part_link(key, uploads[0], 1, size=4, seconds=60)
        assert (await harness.use(link, b"four")).status == 200
        for _ in range(2):
            await harness.store.abort_parts(key)
        for upload in uploads:
            await _raises(NotFound, harness.store.parts(key, upload))
        _refused(await harness.use(link, b"four"))
        assert await harness.read(key) == b"former"


async def check_link_arguments(harness: ObjectHarness) -> None:
    """Times, sizes, numbers and types out of range are `Invalid`, naming the field."""
    store = harness.store
    wrong: list[tuple[str, Callable[[], object]]] = [
        ("seconds", lambda: store.download_link("a", seconds=0)),
        ("seconds", lambda: store.download_link("a", seconds=604_801)),
        ("seconds", lambda: store.upload_link("a", size=1, type=TEXT, seconds=-1)),
        ("size", lambda: store.upload_link("a", size=-1, type=TEXT, seconds=1)),
        ("size", lambda: store.upload_form("a", least=2, most=1, type=TEXT, seconds=1)),
        ("type", lambda: store.upload_link("a", size=1, type="text", seconds=1)),
        ("type", lambda: store.upload_link("a", size=1, type="text/plain\r\nx: y", seconds=1)),
        ("number", lambda: store.part_link("a", "u", 0, size=1, seconds=1)),
        ("number", lambda: store.part_link("a", "u", 10_001, size=1, seconds=1)),
    ]
    for name, make in wrong:
        assert _complaint(make) == name


async def check_ready(harness: ObjectHarness) -> None:
    """A store that works says so."""
    await harness.store.ready()


def _tampered(url: str) -> str:
    last = url[-1]
    return url[:-1] + ("0" if last != "0" else "1")


Check = Callable[[ObjectHarness], Awaitable[None]]


def checks() -> Sequence[Check]:
    """All checks, independent of each other."""
    return [
        check_put_get_stat,
        check_empty_content,
        check_streams,
        check_ranges,
        check_copy,
        check_copy_leaves_behind_what_the_writer_said,
        check_delete,
        check_list,
        check_keys,
        check_upload_link,
        check_upload_link_refused,
        check_upload_link_touches_nothing_else,
        check_upload_form,
        check_upload_form_refused,
        check_download_link,
        check_download_link_refused,
        check_parts,
        check_parts_refused,
        check_parts_aborted,
        check_link_arguments,
        check_ready,
    ]
