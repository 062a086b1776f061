"""Object storage: named bytes, links that let a client move them without the server, uploads in parts.

Three small protocols make up the one port, `ObjectStore`; a backend is one object that has them all.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

from attrs import field, frozen

from chat_common.errors import Invalid

KEY_CHARS = 512
PART_MIN = 5 * 1024 * 1024
"""Every part but the last has at least this many bytes (a rule of S3)."""
PARTS_MAX = 10_000
LINK_SECONDS_MAX = 7 * 24 * 3600
LINK_NAME_CHARS = 255

_KEY = re.compile(r"(?!.*(?:^|/)\.\.?(?:/|\Z))[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
_PREFIX = re.compile(r"(?!.*(?:^|/)\.\.?(?:/|\Z))(?:[A-Za-z0-9._-]+/)*[A-Za-z0-9._-]*")
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")


def check_key(key: str) -> str:
    """The key, if it is one: segments of ``[A-Za-z0-9._-]`` joined by ``/``, none ``.`` or ``..``, ≤ 512 characters."""
    if len(key) > KEY_CHARS or _KEY.fullmatch(key) is None:
        raise Invalid(
            "key: A key is segments of letters, digits and ._- joined by /, with at most 512 characters.",
            field="key",
            limit=KEY_CHARS,
        )
    return key


def check_prefix(prefix: str) -> str:
    """Like `check_key`; may be empty, may end within a segment or in ``/``."""
    if len(prefix) > KEY_CHARS or _PREFIX.fullmatch(prefix) is None:
        raise Invalid("prefix: A prefix is the beginning of a key.", field="prefix", limit=KEY_CHARS)
    return prefix


def check_type(value: str) -> str:
    """A media type without parameters, in lower case: ``image/png``."""
    if _TYPE.fullmatch(value) is None:
        raise Invalid("type: Write a media type such as image/png, in lower case and without parameters.", field="type")
    return value


@frozen
class ObjectInfo:
    """What is stored under a key. ``etag`` changes with the content; ``modified`` is in ms since 1970."""

    key: str
    size: int
    etag: str
    modified: int
    type: str = "application/octet-stream"


@frozen
class Link:
    """A request that whoever has it may make until ``expires_at`` (ms since 1970), with exactly these headers.

    ``url`` may be relative to the server's own address. ``headers`` are part of the signature where they matter.
    """

    method: str
    url: str
    expires_at: int
    headers: Mapping[str, str] = field(factory=dict)


@frozen
class Part:
    """A part that has arrived. ``etag`` is what the store answered to its upload."""

    number: int
    size: int
    etag: str


Scope = MutableMapping[str, Any]
AsgiApp = Callable[
    [Scope, Callable[[], Awaitable[MutableMapping[str, Any]]], Callable[[MutableMapping[str, Any]], Awaitable[None]]],
    Awaitable[None],
]


@frozen
class ObjectMount:
    """An ASGI application that the server must serve under ``path`` for the store's links to work."""

    path: str
    app: AsgiApp


@frozen
class DataFolder:
    """Where an application keeps its files; what provides it may be asked for by this type."""

    path: Path


class ObjectContents(Protocol):
    """Named bytes. A key is written whole or not at all: no reader ever sees half a content, and after `put` or `copy`
    has returned every reader sees the new one. The last writer of a key wins. All operations may be repeated.
    Do not use a key together with another one below it (``a`` and ``a/b``): MinIO then lists only the first.

    Errors of every method: `Invalid` for a malformed argument, `Unavailable` when the store does not answer in time
    (whether a change took effect is then unknown). Cancelling leaves the old content or the new one.
    """

    async def put(
        self, key: str, data: bytes | AsyncIterable[bytes], *, type: str = "application/octet-stream"
    ) -> ObjectInfo:
        """Store a content. If ``data`` raises, nothing is stored."""
        ...

    def get(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The content in chunks of at most 1 MiB, from byte ``start``, ``length`` bytes at most; `NotFound` at once.

        What is read is one version of the content, whatever is written meanwhile. A ``start`` at or beyond the end
        gives nothing.
        """
        ...

    async def stat(self, key: str) -> ObjectInfo:
        """What is stored under the key; `NotFound`."""
        ...

    async def copy(self, source: str, target: str, *, type: str | None = None, size: int | None = None) -> None:
        """Store the content of ``source`` (≤ 5 GiB) under ``target`` too, within the store, as ``type`` (None: the
        source's); nothing else of what whoever wrote it may have said goes along. `NotFound`.

        ``type`` and ``size``, as far as the caller knows them, save the store a look.
        """
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove contents; absent keys are fine. Some may be gone when it raises."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """Everything whose key begins with ``prefix``, each once, in no promised order; ``type`` is not told.

        What is written or removed meanwhile may or may not be seen.
        """
        ...

    async def free(self) -> int | None:
        """Bytes for which there is room, less what is to be left free; None where the store does not say."""
        ...

    async def ready(self) -> None:
        """Returns when the store can be reached and used, and has room; else `Unavailable` says what is wrong."""
        ...

    async def prepare(self, *, origins: Sequence[str] = ()) -> Sequence[str]:
        """Make what the store needs (bucket, clean-up rules, access for pages of ``origins``); may be repeated.

        For the operator's ``init``, never at start. Returns a line for a person about each thing done.
        """
        ...


class ObjectLinks(Protocol):
    """Requests that a client may make without being known. Making one does no I/O and needs no object to exist.

    ``seconds`` is how long it works, 1 to 604,800. A request that is altered, late, of another size or of another
    type than signed is refused by the store with a 4xx status and changes nothing. A link is not used up by use.
    Whatever headers are added to it, it reads and writes no object but its own.
    """

    def upload_link(self, key: str, *, size: int, type: str, seconds: int) -> Link:
        """A PUT of exactly ``size`` bytes as ``type``."""
        ...

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
        """A GET (with Range). ``name``: what a browser saves it as; ``inline``: it may be shown in place.

        ``type`` overrides the stored one in the answer; ``utf8``: a text is then said to be in UTF-8. Whether the link
        allows HEAD too is up to the store: S3 signs the method.
        """
        ...

    @property
    def origin(self) -> str | None:
        """``scheme://host[:port]`` that the links lead to; None: they are relative to the server's address."""
        ...

    @property
    def mount(self) -> ObjectMount | None:
        """What must be served for the links to work; None when the store has a server of its own."""
        ...


class ObjectParts(Protocol):
    """Large contents in parts that may come in any order, in parallel, and again. Nothing can be read under the key
    before `complete_parts` has returned; the former content stays until then.
    """

    async def begin_parts(self, key: str, *, type: str) -> str:
        """Begin; returns the id of this upload."""
        ...

    def part_link(self, key: str, upload: str, number: int, *, size: int, seconds: int) -> Link:
        """A PUT of part ``number`` (1 to 10,000) of exactly ``size`` bytes; the answer's ETag header is the part's."""
        ...

    async def parts(self, key: str, upload: str) -> Sequence[Part]:
        """The parts that have arrived, by number. `NotFound` when the upload is over.

        Of a part that came again within the same second with another content, either may be told.
        """
        ...

    async def complete_parts(self, key: str, upload: str, parts: Sequence[Part]) -> ObjectInfo:
        """Make the content of these parts, in order of number.

        `NotFound` when the upload is over, `Invalid` when a part is absent, has another etag, or is too small.
        """
        ...

    async def abort_parts(self, key: str) -> None:
        """Forget every unfinished upload of this key and its parts. Absent is fine."""
        ...


class ObjectStore(ObjectContents, ObjectLinks, ObjectParts, Protocol):
    """The port: contents, links and parts of one place (a folder, a bucket)."""


class ObjectTelemetry(Protocol):
    """Told what the store and the uploads do; whoever keeps numbers provides it. Never waits, never raises."""

    def operation(self, name: str, outcome: str, seconds: float) -> None:
        """An operation of the store has ended: ``ok``, ``refused``, ``unavailable`` or ``cancelled``."""
        ...

    def moved(self, direction: Literal["in", "out"], size: int) -> None:
        """Bytes went into the store, or came out of it, through this process."""
        ...

    def dead(self, dead: bool) -> None:
        """Whether the store counts as dead now."""
        ...

    def upload(self, outcome: str) -> None:
        """``begun``, ``finished``, ``cancelled``, or the code of the error that a finish ended with."""
        ...

    def picture(self, seconds: float) -> None:
        """A picture was converted."""
        ...

    def room(self, kept: int, free: int | None) -> None:
        """Bytes that users keep now, and for how many more the store has room, where it says."""
        ...
