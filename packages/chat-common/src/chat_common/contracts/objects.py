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
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from chat_common.contracts import object_links as links
from chat_common.contracts.object_harness import TEXT, ObjectHarness, cleaned, complaint, raises
from chat_common.contracts.object_harness import Answer as Answer
from chat_common.contracts.object_harness import Fetch as Fetch
from chat_common.contracts.object_harness import Headers as Headers
from chat_common.errors import Invalid, NotFound


async def check_put_get_stat(harness: ObjectHarness) -> None:
    """What was put is got and described; the last writer wins; etags tell contents apart."""
    async with cleaned(harness):
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
    async with cleaned(harness):
        key = harness.key("empty")
        await harness.store.put(key, b"")
        assert (await harness.store.stat(key)).size == 0
        assert await harness.read(key) == b""


async def check_streams(harness: ObjectHarness) -> None:
    """Contents go in and out in pieces; a source that fails stores nothing and leaves the former content."""
    async with cleaned(harness):
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
        await raises(ZeroDivisionError, harness.store.put(other, source(fail=True)))
        await harness.absent(other)
        await raises(ZeroDivisionError, harness.store.put(key, source(fail=True)))
        assert (await harness.store.stat(key)).size == 30 * len(piece)


async def check_ranges(harness: ObjectHarness) -> None:
    """A stretch of a content, by start and length; beyond the end there is nothing."""
    async with cleaned(harness):
        key = harness.key("digits")
        await harness.store.put(key, b"0123456789")
        assert await harness.read(key, start=3) == b"3456789"
        assert await harness.read(key, start=3, length=4) == b"3456"
        assert await harness.read(key, start=8, length=100) == b"89"
        assert await harness.read(key, start=10) == b""
        assert await harness.read(key, start=100, length=5) == b""
        assert await harness.read(key, length=0) == b""
        await raises(Invalid, harness.read(key, start=-1))


async def check_copy(harness: ObjectHarness) -> None:
    """Content and type under another key, independent of the first."""
    async with cleaned(harness):
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
        await raises(NotFound, harness.store.copy(never, target))
        await raises(NotFound, harness.store.copy(never, target, type=TEXT, size=4))
        await raises(NotFound, harness.store.copy(never, never))
        assert await harness.read(target) == b"same"


async def check_delete(harness: ObjectHarness) -> None:
    """Gone at once; absent keys are fine; neighbours stay."""
    async with cleaned(harness):
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
    async with cleaned(harness):
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
        await raises(Invalid, harness.store.put(key, b"x"))
        await raises(Invalid, harness.store.stat(key))
        await raises(Invalid, harness.store.copy(key, "contract/x"))
        await raises(Invalid, harness.store.copy("contract/x", key))
        await raises(Invalid, harness.store.delete([key]))
        for make in (
            lambda key=key: harness.store.upload_link(key, size=1, type=TEXT, seconds=60),
            lambda key=key: harness.store.download_link(key, seconds=60),
            lambda key=key: harness.store.part_link(key, "upload", 1, size=1, seconds=60),
        ):
            assert complaint(make) == "key", f"a link to {key!r} was made"


async def check_free(harness: ObjectHarness) -> None:
    """How much room there is, where the store says so."""
    free = await harness.store.free()
    assert free is None or free > 0


async def check_ready(harness: ObjectHarness) -> None:
    """A store that works says so."""
    await harness.store.ready()


Check = Callable[[ObjectHarness], Awaitable[None]]


def checks() -> Sequence[Check]:
    """All checks, independent of each other."""
    return [
        check_put_get_stat,
        check_empty_content,
        check_streams,
        check_ranges,
        check_copy,
        links.check_copy_leaves_behind_what_the_writer_said,
        check_delete,
        check_list,
        check_keys,
        links.check_upload_link,
        links.check_upload_link_refused,
        links.check_upload_link_touches_nothing_else,
        links.check_download_link,
        links.check_download_link_refused,
        links.check_parts,
        links.check_parts_refused,
        links.check_parts_aborted,
        links.check_link_arguments,
        check_free,
        check_ready,
    ]
