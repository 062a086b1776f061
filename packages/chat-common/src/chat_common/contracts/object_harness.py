"""What the checks of an `ObjectStore` stand on: a store, a plain HTTP client, and ways to ask and to complain."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from attrs import field, frozen

from chat_common.errors import Invalid, NotFound
from chat_common.ports.objects import Link, ObjectInfo, ObjectStore

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

    async def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        async with self.store.get(key, start=start, length=length) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def listed(self, prefix: str) -> list[ObjectInfo]:
        return [info async for info in self.store.list(prefix)]

    async def absent(self, key: str) -> None:
        """Nothing is there, by any way of asking."""
        await raises(NotFound, self.store.stat(key))
        await raises(NotFound, self.read(key))
        assert [info for info in await self.listed(key) if info.key == key] == []


async def raises(kind: type[Exception], doing: Awaitable[object]) -> None:
    try:
        await doing
    except kind:
        return
    raise AssertionError(f"{kind.__name__} expected")


def complaint(make: Callable[[], object]) -> str | None:
    """The field that `Invalid` names; None when nothing is raised."""
    try:
        make()
    except Invalid as error:
        return error.field
    return None


def refused(answer: Answer) -> None:
    assert 400 <= answer.status < 500, f"a refusal expected, not {answer.status}: {answer.body[:300]!r}"


@asynccontextmanager
async def cleaned(harness: ObjectHarness) -> AsyncIterator[None]:
    yield
    await harness.store.delete([info.key for info in await harness.listed(harness.folder)])
    assert await harness.listed(harness.folder) == []
